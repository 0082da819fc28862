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
func (m *members[K]) at(i int) (c cursor[K]) {
	c.part, c.other = m[0], m[1]
	if i >= m[0].n {
		c.part, c.other = m[1], m[0]
		i -= m[0].n
	}
	c.seek(c.part.first + i)
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

// cursor iterates over a set, or over members, from any position and wraps around.
type cursor[K ordered[K]] struct {
	leaf        []item[K] // up to the end of the part
	index       int       // in leaf
	before      int       // items of the set before the leaf
	part, other part[K]
}

func (c *cursor[K]) item() *item[K] { return &c.leaf[c.index] }

func (c *cursor[K]) next() {
	if c.index++; c.index == len(c.leaf) {
		c.turn()
	}
}

// turn goes to the next leaf. At the end of the part it goes to the start of the other one, or of
// the same if there is no other.
func (c *cursor[K]) turn() {
	position := c.before + c.index
	if position == c.part.first+c.part.n {
		if c.other.n > 0 {
			c.part, c.other = c.other, c.part
		}
		position = c.part.first
	}
	c.seek(position)
}

// seek goes to a position in the set of the part.
func (c *cursor[K]) seek(position int) {
	c.leaf, c.index = c.part.set.leafAt(position)
	c.before = position - c.index
	if end := c.part.first + c.part.n - c.before; end < len(c.leaf) {
		c.leaf = c.leaf[:end]
	}
}
