package cpix

import (
	"strconv"

	"github.com/beevik/etree"
)

func emitPeriods(root *etree.Element, periods []Period) {
	if len(periods) == 0 {
		return
	}
	list := root.CreateElement("cpix:ContentKeyPeriodList")
	for _, p := range periods {
		n := list.CreateElement("cpix:ContentKeyPeriod")
		optional(n, "id", p.ID)
		optional(n, "index", p.Index)
		optional(n, "start", p.Start)
		optional(n, "end", p.End)
	}
}

func emitRules(root *etree.Element, rules []Rule) {
	if len(rules) == 0 {
		return
	}
	list := root.CreateElement("cpix:ContentKeyUsageRuleList")
	for _, r := range rules {
		n := list.CreateElement("cpix:ContentKeyUsageRule")
		n.CreateAttr("kid", r.KID.UUID())
		optional(n, "intendedTrackType", r.IntendedTrackType)
		for _, p := range r.Periods {
			n.CreateElement("cpix:KeyPeriodFilter").CreateAttr("periodId", p)
		}
		for _, l := range r.Labels {
			n.CreateElement("cpix:LabelFilter").CreateAttr("label", l)
		}
		for _, v := range r.Video {
			c := n.CreateElement("cpix:VideoFilter")
			number(c, "minPixels", v.MinPixels)
			number(c, "maxPixels", v.MaxPixels)
			boolean(c, "hdr", v.HDR)
			boolean(c, "wcg", v.WCG)
			number(c, "minFps", v.MinFPS)
			number(c, "maxFps", v.MaxFPS)
		}
		for _, a := range r.Audio {
			c := n.CreateElement("cpix:AudioFilter")
			number(c, "minChannels", a.MinChannels)
			number(c, "maxChannels", a.MaxChannels)
		}
		for _, b := range r.Bitrate {
			c := n.CreateElement("cpix:BitrateFilter")
			number(c, "minBitrate", b.MinBitrate)
			number(c, "maxBitrate", b.MaxBitrate)
		}
	}
}

func number(n *etree.Element, name string, v *uint32) {
	if v != nil {
		n.CreateAttr(name, strconv.FormatUint(uint64(*v), 10))
	}
}

func boolean(n *etree.Element, name string, v *bool) {
	if v != nil {
		n.CreateAttr(name, strconv.FormatBool(*v))
	}
}
