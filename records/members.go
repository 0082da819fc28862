package records

// part is some successive items of a set.
type part[K ordered[K]] struct {
	set      *set[K]
	first, n int // position and number
}

// whole returns all items of the set.
func (s *set[K]) whole() part[K] { return part[K]{s, 0, s.len()} }

// between returns the items from one key to another, both included.
func (s *set[K]) between(first, last K) part[K] {
	from := s.search(first)
	if from == s.len() {
		return part[K]{}
	}
	if leaf, i := s.leafAt(from); leaf[i].key.compare(last) > 0 {
		return part[K]{}
	}
	to := s.search(last)
	if s.refsOf(last) > 0 {
		to++
	}
	return part[K]{s, from, to - from}
}

// has reports whether the key is one of the items.
func (p *part[K]) has(key K) bool {
	i := p.set.search(key)
	return p.first <= i && i < p.first+p.n && p.set.refsOf(key) > 0
}

// refs returns the number of endpoints behind the items. It may stop counting at most.
func (p *part[K]) refs(most int) int {
	total := 0
	if p.n == 0 {
		return 0
	}
	m := members[K]{*p}
	c := m.at(0)
	for i := 0; i < p.n && total < most; i++ {
		total += int(c.item().refs())
		c.next()
	}
	return total
}

// members are the items of a name: those of two parts, one after the other. Nearly
// always the second part is empty.
type members[K ordered[K]] [2]part[K]

// members returns the members of a name that has the whole set.
func (s *set[K]) members() members[K] { return members[K]{s.whole()} }

// len returns the number of members.
func (m *members[K]) len() int { return m[0].n + m[1].n }

// at returns a cursor at the i-th member, which must exist.
func (m *members[K]) at(i int) cursor[K] {
	c := cursor[K]{members: *m}
	if i >= m[0].n {
		c.part, i = 1, i-m[0].n
	}
	c.seek(m[c.part].first + i)
	return c
}

// all yields the key of every member.
func (m *members[K]) all(yield func(K) bool) {
	if m.len() == 0 {
		return
	}
	c := m.at(0)
	for range m.len() {
		if !yield(c.item().key) {
			return
		}
		c.next()
	}
}

// cursor iterates over members from any of them and wraps around.
type cursor[K ordered[K]] struct {
	members  members[K]
	part     int // of members
	position int // in the set
	end      int // of the part
	leaf     []item[K]
	index    int // in leaf
}

func (c *cursor[K]) item() *item[K] { return &c.leaf[c.index] }

func (c *cursor[K]) next() {
	c.index++
	c.position++
	switch {
	case c.position == c.end:
		if c.members[1-c.part].n > 0 {
			c.part = 1 - c.part
		}
		c.seek(c.members[c.part].first)
	case c.index == len(c.leaf):
		c.seek(c.position)
	}
}

// seek goes to a position in the set of the part.
func (c *cursor[K]) seek(position int) {
	p := &c.members[c.part]
	c.position, c.end = position, p.first+p.n
	c.leaf, c.index = p.set.leafAt(position)
}
