package fastudp

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// ended is the deadline that a dns.Server sets to shut down.
var ended = time.Unix(1, 0)

// The queries of one batch are answered or returned in order, and no reply waits for the
// server to come back.
func TestBatch(t *testing.T) {
	c := listenAlone(t, "127.0.0.1:0")
	batches := make(map[time.Time]int)
	c.Use(answerFunc(func(query, buf []byte, v6 bool, received time.Time) []byte {
		batches[received]++
		return fast(query, buf, v6, received)
	}))
	a, b := dial(t, "", c.LocalAddr().String()), dial(t, "", c.LocalAddr().String())
	send(t, a, query("fast 1"), query("slow 1"), query("fast 2"))
	send(t, b, query("fast 3"), query("slow 2"), query("fast 4"))
	send(t, a, query("fast 5"), query("slow 3"))

	from := handOver(t, c, "slow 1")
	if from.String() != a.LocalAddr().String() {
		t.Errorf("the query is from %v, want %v", from, a.LocalAddr())
	}
	expect(t, a, "fast 1")
	expectNone(t, a)
	from = handOver(t, c, "slow 2")
	if from.String() != b.LocalAddr().String() {
		t.Errorf("the query is from %v, want %v", from, b.LocalAddr())
	}
	expect(t, a, "fast 2")
	expect(t, b, "fast 3")
	expectNone(t, b)
	from = handOver(t, c, "slow 3")
	expect(t, b, "fast 4")
	expect(t, a, "fast 5")
	if _, err := c.WriteTo(reply(query("by the server"), nil), from); err != nil {
		t.Error(err)
	}
	expect(t, a, "by the server")
	for _, queries := range batches {
		if queries != 8 {
			t.Errorf("a batch of %d queries, want 8", queries)
		}
	}
}

func TestManyBatches(t *testing.T) {
	c := listenAlone(t, "127.0.0.1:0")
	sizes := make(map[time.Time]int)
	c.Use(answerFunc(func(query, buf []byte, v6 bool, received time.Time) []byte {
		sizes[received]++
		return fast(query, buf, v6, received)
	}))
	client := dial(t, "", c.LocalAddr().String())
	const queries = 5*batchSize - 1
	for i := range queries {
		send(t, client, query(fmt.Sprint("fast ", i)))
	}
	send(t, client, query("slow"))
	handOver(t, c, "slow")
	for i := range queries {
		expect(t, client, fmt.Sprint("fast ", i))
	}
	if len(sizes) != 5 {
		t.Errorf("%d batches, want 5", len(sizes))
	}
}

// The server gets what it would read from a socket of its own: 512 bytes of a long query.
func TestSizes(t *testing.T) {
	c := listenAlone(t, "127.0.0.1:0")
	var lengths []int
	c.Use(answerFunc(func(query, buf []byte, v6 bool, received time.Time) []byte {
		lengths = append(lengths, len(query))
		if text(query) == "fast large" {
			return reply(query, append(buf, make([]byte, 2*MaxReply-headerSize-len("fast large"))...)[:0])[:2*MaxReply]
		}
		if cap(buf) != 2*MaxReply || len(buf) != 0 {
			t.Errorf("the buffer has %d bytes and the capacity %d", len(buf), cap(buf))
		}
		return fast(query, buf, v6, received)
	}))
	client := dial(t, "", c.LocalAddr().String())
	whole := "fast " + strings.Repeat("x", querySize-headerSize-5)
	send(t, client, query(whole), query(whole+"x"), query(whole+whole+whole), nil, query("")[:headerSize-1], query("fast large"), query("slow"))
	handOver(t, c, whole)
	expect(t, client, whole)
	handOver(t, c, whole)
	handOver(t, c, "")
	buf := make([]byte, querySize)
	if n, _, err := c.ReadFrom(buf); n != headerSize-1 || err != nil {
		t.Errorf("a short packet: %d bytes, %v", n, err)
	}
	handOver(t, c, "slow")
	expect(t, client, "fast large"+strings.Repeat("\x00", 2*MaxReply-headerSize-len("fast large")))
	if want := []int{querySize, headerSize + 10, headerSize + 4}; fmt.Sprint(lengths) != fmt.Sprint(want) {
		t.Errorf("the answerer got queries of %v bytes, want %v", lengths, want)
	}
}

// An answerer is used for whole batches.
func TestUse(t *testing.T) {
	c := listenAlone(t, "127.0.0.1:0")
	client := dial(t, "", c.LocalAddr().String())
	send(t, client, query("fast 1"))
	handOver(t, c, "fast 1") // no answerer yet

	second := answerFunc(func(query, buf []byte, _ bool, _ time.Time) []byte {
		return reply(append(query[:len(query):len(query)], " by the second"...), buf)
	})
	c.Use(answerFunc(func(query, buf []byte, _ bool, _ time.Time) []byte {
		c.Use(second)
		return reply(query, buf)
	}))
	for i := range batchSize + 1 {
		send(t, client, query(fmt.Sprint(i)))
	}
	reads := read(t, c)
	for i := range batchSize {
		expect(t, client, fmt.Sprint(i))
	}
	expect(t, client, fmt.Sprint(batchSize, " by the second"))
	c.Use(nil)
	send(t, client, query("fast 2"))
	next(t, reads, "fast 2")
}

// A panic makes a query one for the server, and the answerer waits for the next Use.
func TestPanic(t *testing.T) {
	c := listenAlone(t, "127.0.0.1:0")
	var calls, panics int
	c.OnPanic = func(value any, stack []byte) {
		panics++
		if value != "broken" || !strings.Contains(string(stack), "TestPanic") {
			t.Errorf("panic %v in\n%s", value, stack)
		}
	}
	broken := answerFunc(func(query, buf []byte, v6 bool, received time.Time) []byte {
		if calls++; text(query) == "panic" {
			_ = append(buf, "half a reply"...)
			panic("broken")
		}
		return fast(query, buf, v6, received)
	})
	c.Use(broken)
	client := dial(t, "", c.LocalAddr().String())
	send(t, client, query("fast 1"), query("panic"), query("fast 2"))
	handOver(t, c, "panic")
	expect(t, client, "fast 1")
	handOver(t, c, "fast 2")
	send(t, client, query("fast 3")) // in another batch
	handOver(t, c, "fast 3")
	if calls != 2 || panics != 1 {
		t.Errorf("%d calls and %d panics, want 2 and 1", calls, panics)
	}

	c.Use(broken)
	send(t, client, query("fast 4"), query("slow"))
	handOver(t, c, "slow")
	expect(t, client, "fast 4")

	// One that was set meanwhile stays.
	c.Use(answerFunc(func([]byte, []byte, bool, time.Time) []byte {
		c.Use(fast)
		panic("broken")
	}))
	c.OnPanic = nil
	send(t, client, query("fast 5"))
	handOver(t, c, "fast 5")
	send(t, client, query("fast 6"), query("slow"))
	handOver(t, c, "slow")
	expect(t, client, "fast 6")
}

func TestNoRecover(t *testing.T) {
	c := listenAlone(t, "127.0.0.1:0")
	c.NoRecover = true
	c.OnPanic = func(any, []byte) { t.Error("a panic was recovered") }
	c.Use(answerFunc(func([]byte, []byte, bool, time.Time) []byte { panic("broken") }))
	send(t, dial(t, "", c.LocalAddr().String()), query(""))
	defer func() {
		if value := recover(); value != "broken" {
			t.Errorf("panic %v", value)
		}
	}()
	_, _, err := c.ReadFrom(make([]byte, querySize))
	t.Errorf("ReadFrom: %v", err)
}

// A reply that the kernel refuses takes no other reply with it.
func TestSendErrors(t *testing.T) {
	c := listenAlone(t, "127.0.0.1:0")
	c.Use(answerFunc(func(query, buf []byte, v6 bool, received time.Time) []byte {
		if text(query) == "fast too large" {
			return make([]byte, 1<<16)
		}
		return fast(query, buf, v6, received)
	}))
	client := dial(t, "", c.LocalAddr().String())
	send(t, client, query("fast too large"), query("fast 1"), query("fast too large"), query("fast too large"),
		query("fast 2"), query("fast too large"), query("slow"))
	from := handOver(t, c, "slow")
	expect(t, client, "fast 1", "fast 2")
	expectNone(t, client)
	if _, err := c.WriteTo(make([]byte, 1<<16), from); !errors.Is(err, unix.EMSGSIZE) {
		t.Errorf("WriteTo: %v", err)
	}
}

// A client that is gone makes the kernel report an error on the socket. It is not the end.
func TestClientGone(t *testing.T) {
	c := listenAlone(t, "127.0.0.1:0")
	err := c.control(func(fd int) error { return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_RECVERR, 1) })
	if err != nil {
		t.Fatal(err)
	}
	c.Use(fast)
	gone, client := dial(t, "", c.LocalAddr().String()), dial(t, "", c.LocalAddr().String())
	pending := func() (errno int) {
		err := c.control(func(fd int) (err error) {
			errno, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return errno
	}

	send(t, gone, query("slow 1"))
	from := handOver(t, c, "slow 1")
	gone.Close()
	if _, err := c.WriteTo(reply(query(""), nil), from); err != nil {
		t.Fatal(err)
	}
	if got := pending(); got != int(unix.ECONNREFUSED) { // which takes the error away
		t.Fatalf("error %d is pending", got)
	}
	if _, err := c.WriteTo(reply(query(""), nil), from); err != nil {
		t.Fatal(err)
	}
	send(t, client, query("slow 2"))
	handOver(t, c, "slow 2")

	gone = dial(t, "", c.LocalAddr().String())
	send(t, gone, query("fast 1"), query("fast 2"))
	gone.Close()
	send(t, client, query("slow 3"))
	handOver(t, c, "slow 3")
	send(t, client, query("fast 3"), query("slow 4"))
	handOver(t, c, "slow 4")
	expect(t, client, "fast 3")
}

// A real error ends the loop.
func TestReadError(t *testing.T) {
	c := listenAlone(t, "127.0.0.1:0")
	c.batch.queries[0].Iov = nil
	c.batch.queries[0].SetIovlen(1)
	send(t, dial(t, "", c.LocalAddr().String()), query(""))
	if _, _, err := c.ReadFrom(make([]byte, querySize)); !errors.Is(err, unix.EFAULT) {
		t.Errorf("ReadFrom: %v", err)
	}
}

// A signal interrupts the system call, whatever the runtime says of restarts, since the
// socket has a timeout.
func TestInterrupt(t *testing.T) {
	c := listenAlone(t, "127.0.0.1:0")
	thread := make(chan int, 1)
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		thread <- unix.Gettid()
		_, _, err := c.ReadFrom(make([]byte, querySize))
		done <- err
	}()
	id := <-thread
	inCall := fmt.Sprint(unix.SYS_RECVMMSG, " ")
	for range 3 {
		for {
			if len(done) > 0 {
				t.Fatalf("ReadFrom: %v", <-done)
			}
			call, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/syscall", id))
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(string(call), inCall) {
				break
			}
		}
		if err := unix.Tgkill(os.Getpid(), id, unix.SIGURG); err != nil {
			t.Fatal(err)
		}
	}
	send(t, dial(t, "", c.LocalAddr().String()), query(""))
	if err := <-done; err != nil {
		t.Errorf("ReadFrom: %v", err)
	}
}

// A dns.Server sets a deadline before each read. Only one in the past means the end.
func TestDeadline(t *testing.T) {
	c := listenAlone(t, "127.0.0.1:0")
	c.Use(fast)
	client := dial(t, "", c.LocalAddr().String())
	for _, deadline := range []time.Time{{}, time.Now(), time.Now().Add(2 * time.Second)} {
		_ = c.SetReadDeadline(deadline)
		if c.ending.Load() {
			t.Errorf("the deadline %v is the end", deadline)
		}
	}
	_ = c.SetDeadline(ended)
	_ = c.SetReadDeadline(time.Now().Add(2 * time.Second)) // the last one of the loop
	for i := range 3 * batchSize {
		send(t, client, query(fmt.Sprint("fast ", i)), query(fmt.Sprint("slow ", i)))
	}
	for i := range 3 * batchSize {
		handOver(t, c, fmt.Sprint("slow ", i))
		expect(t, client, fmt.Sprint("fast ", i))
	}
	_, _, err := c.ReadFrom(make([]byte, querySize))
	var timeout net.Error
	if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("ReadFrom: %v", err)
	}
}

// Close ends a ReadFrom that waits, and one that finds no quiet.
func TestClose(t *testing.T) {
	c := listenAlone(t, "127.0.0.1:0")
	read(t, c) // expects net.ErrClosed
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := c.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("second Close: %v", err)
	}

	busy := listenAlone(t, "127.0.0.1:0")
	client := dial(t, "", busy.LocalAddr().String())
	var calls int
	busy.Use(answerFunc(func(query, buf []byte, _ bool, _ time.Time) []byte {
		send(t, client, query) // so there is always another one
		if calls++; calls == 100 {
			busy.Close()
		}
		return reply(query, buf)
	}))
	_ = busy.SetReadDeadline(ended)
	send(t, client, query("fast"))
	if _, _, err := busy.ReadFrom(make([]byte, querySize)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("ReadFrom: %v", err)
	}
	if _, err := busy.WriteTo(query(""), client.LocalAddr()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("WriteTo: %v", err)
	}
	for _, f := range []func() error{busy.Steer, busy.Unsteer} {
		if err := f(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("steering a closed Conn: %v", err)
		}
	}
}

// The goroutine waits in the system call, with a timeout. A closed socket leaves its address.
func TestListen(t *testing.T) {
	c := listenAlone(t, "127.0.0.1:0")
	err := c.control(func(fd int) error {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
		if err != nil {
			return err
		}
		wait, err := unix.GetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO)
		if err != nil {
			return err
		}
		if flags&unix.O_NONBLOCK != 0 || time.Duration(wait.Nano()).Round(quietTime) != quietTime {
			t.Errorf("flags %#x, a timeout of %v", flags, time.Duration(wait.Nano()))
		}
		flags, err = unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if flags&unix.FD_CLOEXEC == 0 {
			t.Error("child processes inherit the socket")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	pc, err := net.ListenPacket("udp", c.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	pc.Close()
}

func TestListenError(t *testing.T) {
	_, err := Listen("127.0.0.1:here")
	if err == nil || !strings.HasPrefix(err.Error(), `listen on "127.0.0.1:here": `) {
		t.Error(err)
	}
}

// The goroutine yields before it waits while the server has queries, and else from time to
// time.
func TestYield(t *testing.T) {
	now := time.Now()
	for _, tt := range []struct {
		handed   bool
		received int
		ago      time.Duration
		want     bool
	}{
		{true, batchSize - 1, 1, true},
		{true, batchSize, 1, false}, // does not wait
		{false, batchSize - 1, 1, false},
		{false, batchSize, yieldTime, true},
		{false, 1, yieldTime - 1, false},
	} {
		c := &Conn{received: now, yielded: now.Add(-tt.ago)}
		c.batch.handed, c.batch.received = tt.handed, tt.received
		c.yield()
		if got := c.yielded.Equal(now); got != tt.want {
			t.Errorf("%+v: yielded: %v", tt, got)
		}
		if tt.want && c.batch.handed {
			t.Errorf("%+v: would yield again", tt)
		}
	}
}
