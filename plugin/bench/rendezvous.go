package main

import (
	"fmt"
	"strings"
)

// The measured rendezvous: the numbers of pods, and the servers.
var (
	meetings = []int{10, 100, 1000}
	meeting  = []struct{ server, title string }{
		{"addressed", "*headless*, `hosts addressed` and `denial 0 bare`"},
		{"headless", "*headless* by default"},
		{"kubernetes", "in-tree"},
		{"publish", "in-tree, `publishNotReadyAddresses`"},
	}
)

func rendezvousName(n int, server string, cached bool) string {
	return fmt.Sprintf("rendezvous.Rendezvous/n=%d/server=%s/cache=%t", n, server, cached)
}

// rendezvousTable returns a table of what one way of asking the servers measured.
func (r *results) rendezvousTable(cached bool) string {
	t := newTable(sizesHead(meetings, "", "")...)
	for _, s := range meeting {
		rows := [][]string{{s.title, "first lookups that succeed"}, {"", "… of a pod that has an address, and fail"}, {"", "until all have succeeded"}}
		for _, n := range meetings {
			name := rendezvousName(n, s.server, cached)
			for i, cell := range []string{
				with(r.median(name, "first-%"), "%"),
				number(r.median(name, "failed")) + " of " + number(r.median(name, "known")),
				duration(r.median(name, "all-ms") * 1e6),
			} {
				rows[i] = append(rows[i], cell)
			}
		}
		for _, row := range rows {
			t.row(row...)
		}
	}
	return t.String()
}

// rendezvous returns the report of BenchmarkRendezvous.
func (r *results) rendezvous(revision, machine string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\nMeasured at %s on %s. Medians.\n\n%s\n", revision, machine, rendezvousModel)
	for _, way := range []struct {
		cached bool
		title  string
	}{{false, "The pods ask the server:"}, {true, "The pods ask NodeLocal DNSCache with its defaults, which asks the server:"}} {
		fmt.Fprintf(&b, "\n%s\n\n%s", way.title, r.rendezvousTable(way.cached))
	}
	b.WriteString("\n")
	return b.String()
}

const rendezvousModel = `N pods of a StatefulSet start at once, on a real control plane with simulated nodes. A pod is ready three seconds after it
has its address. From its address on, it looks up the others once, one after another, and then again and again those that it
has not found. Of more than 20 others it looks up 20. A third of the pods ask as glibc does, a third as musl, and a third are
Go's own resolver.

* Many first lookups are of a pod that has no address yet: they can't succeed. The second row counts the others.
* The time is from the address of the last pod until every pod has found its peers. It has the pause between two lookups of
  a pod: 20 ms, and 500 ms for N = 1,000. There the machine is the limit, which runs the control plane and all pods: it
  drops packets, and as glibc and musl do, a pod then waits five seconds before it asks again.
* In-tree's Corefile is kubeadm's, whose *cache* leaves the cluster's zone out.`
