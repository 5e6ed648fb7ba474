package cenc

// isAAC tells whether an esds box declares AAC whose frames are raw_data_blocks
// (ISO/IEC 14496-3): object types Main, LC, SSR, LTP, or SBR or PS on top, or
// MPEG-2 AAC. Anything it cannot read is not.
func isAAC(f *fields) bool {
	f.full()
	if !descriptor(f, 3) { // ES_Descriptor (ISO/IEC 14496-1 §7.2.6.5)
		return false
	}
	f.u16()
	flags := f.u8()
	if flags&0x80 != 0 {
		f.u16()
	}
	if flags&0x40 != 0 {
		f.skip(int(f.u8()))
	}
	if flags&0x20 != 0 {
		f.u16()
	}
	if !descriptor(f, 4) { // DecoderConfigDescriptor
		return false
	}
	switch f.u8() { // objectTypeIndication
	case 0x66, 0x67, 0x68: // MPEG-2 AAC
		return !f.short
	case 0x40:
	default:
		return false
	}
	f.skip(12)
	if !descriptor(f, 5) { // DecoderSpecificInfo: AudioSpecificConfig
		return false
	}
	switch f.u8() >> 3 {
	case 1, 2, 3, 4, 5, 29:
		return !f.short
	}
	return false
}

// descriptor reads a descriptor's tag and its expandable size.
func descriptor(f *fields, tag uint8) bool {
	if f.u8() != tag {
		return false
	}
	for range 4 {
		if f.u8()&0x80 == 0 {
			break
		}
	}
	return !f.short
}
