package cenc

// Box types, sample entry types and grouping types that mean something here.
const (
	typeMoov fourcc = 0x6d6f6f76 // moov
	typeMoof fourcc = 0x6d6f6f66 // moof
	typeMdat fourcc = 0x6d646174 // mdat
	typeTrak fourcc = 0x7472616b // trak
	typeMdia fourcc = 0x6d646961 // mdia
	typeMinf fourcc = 0x6d696e66 // minf
	typeStbl fourcc = 0x7374626c // stbl
	typeMvex fourcc = 0x6d766578 // mvex
	typeTraf fourcc = 0x74726166 // traf
	typeSinf fourcc = 0x73696e66 // sinf
	typeSchi fourcc = 0x73636869 // schi
	typeTkhd fourcc = 0x746b6864 // tkhd
	typeHdlr fourcc = 0x68646c72 // hdlr
	typeStsd fourcc = 0x73747364 // stsd
	typeStsz fourcc = 0x7374737a // stsz
	typeStz2 fourcc = 0x73747a32 // stz2
	typeStsc fourcc = 0x73747363 // stsc
	typeStco fourcc = 0x7374636f // stco
	typeCo64 fourcc = 0x636f3634 // co64
	typeTrex fourcc = 0x74726578 // trex
	typePssh fourcc = 0x70737368 // pssh
	typeFrma fourcc = 0x66726d61 // frma
	typeSchm fourcc = 0x7363686d // schm
	typeTenc fourcc = 0x74656e63 // tenc
	typeAvcC fourcc = 0x61766343 // avcC
	typeHvcC fourcc = 0x68766343 // hvcC
	typeEsds fourcc = 0x65736473 // esds
	typeTfhd fourcc = 0x74666864 // tfhd
	typeTrun fourcc = 0x7472756e // trun
	typeSenc fourcc = 0x73656e63 // senc
	typeSaiz fourcc = 0x7361697a // saiz
	typeSaio fourcc = 0x7361696f // saio
	typeSgpd fourcc = 0x73677064 // sgpd
	typeSbgp fourcc = 0x73626770 // sbgp
	typeCsgp fourcc = 0x63736770 // csgp
	typeFree fourcc = 0x66726565 // free
	typeSidx fourcc = 0x73696478 // sidx
	typeMfra fourcc = 0x6d667261 // mfra
	typeMeta fourcc = 0x6d657461 // meta
	typeUdta fourcc = 0x75647461 // udta
	typeUuid fourcc = 0x75756964 // uuid
	typeSeig fourcc = 0x73656967 // seig
	typeCenc fourcc = 0x63656e63 // cenc
	typeCens fourcc = 0x63656e73 // cens
	typeCbc1 fourcc = 0x63626331 // cbc1
	typeCbcs fourcc = 0x63626373 // cbcs
	typePiff fourcc = 0x70696666 // piff
	typeEncv fourcc = 0x656e6376 // encv
	typeEnca fourcc = 0x656e6361 // enca
	typeEnct fourcc = 0x656e6374 // enct
	typeEncs fourcc = 0x656e6373 // encs
	typeEncm fourcc = 0x656e636d // encm
)
