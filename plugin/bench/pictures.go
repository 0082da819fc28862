package main

import "strings"

// The color-blind can tell the colors apart, too. A curve shows between the dashes of a
// curve drawn over it.
var (
	blue   = style{"#1565c0", "linewidth 2.5 pointtype 7 pointsize 0.7"}
	green  = style{"#1b7f5c", "linewidth 4 pointtype 5 pointsize 0.7"}
	orange = style{"#c1440e", "linewidth 2 dashtype (10,8) pointtype 6 pointsize 0.9"}
	grey   = "#949494" // only of bars
)

// inTree explains a label.
const inTree = "in-tree: the kubernetes plugin of CoreDNS"

// tic formats the nanoseconds of a tic: as 1 µs, while the tables have 1,000 ns.
func tic(ns float64) string {
	if ns == 1e3 {
		return "1 µs"
	}
	return duration(ns)
}

// queryPicture shows the time of queries over UDP by the size of the service. It leaves out
// SRV, whose curves are close to those of A of the service.
func (r *results) queryPicture() picture {
	p := panel{title: "time in the plugin of a query over UDP", height: 290, write: tic}
	for _, server := range []struct {
		plugin, title string
		style         style
	}{{"headless", "headless", blue}, {"kubernetes", "in-tree", orange}} {
		for _, q := range questions[:2] {
			c := curve{title: server.title + ", " + q.title, style: server.style}
			for _, n := range allSizes {
				ns := r.median(serveName(q.query, "udp", n, server.plugin), "ns/op")
				c.add(n, ns)
				c.label = server.title + ": " + duration(ns) + "\n" + q.title // at the end
			}
			p.curves = append(p.curves, c)
		}
	}
	return &lineChart{
		title: "Time of a query, by the size of the service", notes: []string{inTree, "both axes are logarithmic"},
		xTitle: "endpoints of the service", log: true, panels: []panel{p},
	}
}

// growthPicture shows what a server costs by the size of the cluster.
func (r *results) growthPicture() picture {
	p := &lineChart{
		title:  "Costs of a server, by the size of the cluster",
		notes:  []string{"endpoints pods and slices: headless with this option", inTree, "churn: one change a second for every 1,000 pods"},
		xTitle: "pods in the cluster",
	}
	for _, c := range []*cost{&settled, &sentAtStart, &sentInChurn} {
		panel := panel{title: c.title, height: 150, write: c.write}
		for i, w := range watching {
			title := strings.Trim(w.title, "`")
			curve := curve{title: title, label: title, style: []style{blue, green, orange}[i]}
			for _, n := range clusterSizes {
				curve.add(n, r.median(growthName(n, c.what, w.plugin), c.metric))
			}
			panel.curves = append(panel.curves, curve)
		}
		p.panels = append(p.panels, panel)
	}
	return p
}

// serversPicture shows what a query costs in whole servers. It leaves out in-tree, with which
// a linear axis would hide the differences between the others.
func (r *results) serversPicture() picture {
	p := &barChart{
		title:  "Cost of a query in a whole server",
		notes:  []string{"floor: a CoreDNS that always gives the same short reply", "in-tree is left out: milliseconds for a service of 1,000"},
		xTitle: "CPU of the process for a query",
		write:  func(us float64) string { return with(us, "µs") },
	}
	for _, a := range []asked{askedPod, askedFew, askedMissing, askedMany, askedSRV} {
		g := group{title: a.title}
		for _, s := range []struct{ server, title, color string }{
			{constantServer, "floor", grey}, {headlessServer, "headless", blue.color},
			{fastServer, "with fastpath", green.color}, {knotServer, "Knot DNS", orange.color},
		} {
			g.bars = append(g.bars, bar{s.title, s.color, r.median(inServers+a.name(s.server), "cpu-µs/query")})
		}
		p.groups = append(p.groups, g)
	}
	return p
}
