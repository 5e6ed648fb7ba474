package cpix

import "strconv"

func (p *parser) period(d *Document, n *node) error {
	var v Period
	v.ID, _ = n.attr("id")
	v.Index, _ = n.attr("index")
	v.Start, _ = n.attr("start")
	v.End, _ = n.attr("end")
	d.Periods = append(d.Periods, v)
	return nil
}

// rule reads a ContentKeyUsageRule (clause "ContentKeyUsageRule Element").
func (p *parser) rule(d *Document, n *node) (err error) {
	var r Rule
	if r.KID, err = p.known(n); err != nil {
		return err
	}
	r.IntendedTrackType, _ = n.attr("intendedTrackType")
	for _, c := range n.children {
		f := filter{p: p, n: c}
		name := c.local
		if c.space != nsCPIX {
			name = ""
		}
		switch name {
		case "KeyPeriodFilter":
			r.Periods = append(r.Periods, f.text("periodId"))
		case "LabelFilter":
			r.Labels = append(r.Labels, f.text("label"))
		case "VideoFilter":
			r.Video = append(r.Video, VideoFilter{
				MinPixels: f.number("minPixels"), MaxPixels: f.number("maxPixels"),
				MinFPS: f.number("minFps"), MaxFPS: f.number("maxFps"),
				HDR: f.boolean("hdr"), WCG: f.boolean("wcg"),
			})
		case "AudioFilter":
			r.Audio = append(r.Audio, AudioFilter{f.number("minChannels"), f.number("maxChannels")})
		case "BitrateFilter":
			r.Bitrate = append(r.Bitrate, BitrateFilter{f.number("minBitrate"), f.number("maxBitrate")})
		default:
			r.Unusable = true // clause "Usage Rules Filters"
		}
		if f.err != nil {
			return f.err
		}
	}
	d.Rules = append(d.Rules, r)
	return nil
}

// filter reads the attributes of one filter, up to the first that is wrong.
type filter struct {
	p   *parser
	n   *node
	err error
}

func (f *filter) text(name string) string {
	s, ok := f.n.attr(name)
	if !ok && f.err == nil {
		f.err = f.p.fail(f.n, ErrMalformed, "no attribute %s", name)
	}
	return s
}

func (f *filter) number(name string) *uint32 {
	s, ok := f.n.attr(name)
	if !ok {
		return nil
	}
	v, err := strconv.ParseUint(s, 10, 32)
	if err != nil && f.err == nil {
		f.err = f.p.fail(f.n, ErrMalformed, "%s is not a number of 32 bits", name)
	}
	return new(uint32(v))
}

func (f *filter) boolean(name string) *bool {
	s, ok := f.n.attr(name)
	switch {
	case !ok:
		return nil
	case s == "true" || s == "1":
		return new(true)
	case s == "false" || s == "0":
		return new(false)
	case f.err == nil:
		f.err = f.p.fail(f.n, ErrMalformed, "%s is not true or false", name)
	}
	return nil
}
