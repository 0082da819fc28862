package apiserver

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// TestReflector follows the server with client-go's reflector, which either watches with
// initial events or lists and then watches, through everything that ends a watch.
func TestReflector(t *testing.T) {
	for _, contentType := range contentTypes {
		for _, streams := range []bool{true, false} {
			t.Run(contentType+map[bool]string{true: " streams", false: " lists"}[streams], func(t *testing.T) {
				t.Parallel() // a reflector waits before it retries
				s := start(t)
				s.Put(newPod("a", "1"), newPod("a", "2"))
				store := follow(t, s, contentType, streams)
				await(t, store, "a/1 a/2")
				s.Put(newPod("b", "3"))
				await(t, store, "a/1 a/2 b/3")
				s.DropWatches()
				s.Apply([]Change{{Object: newPod("a", "1"), Gone: true}})
				await(t, store, "a/2 b/3")
				if n := s.Listed("pods"); n != 1 {
					t.Errorf("a dropped watch led to %d lists", n)
				}
				s.Apply([]Change{{Object: newPod("a", "2"), Gone: true}, {Object: newPod("a", "4")}})
				s.Expire()
				await(t, store, "a/4 b/3")
				s.Put(newPod("a", "5"))
				await(t, store, "a/4 a/5 b/3")
				if n := s.Listed("pods"); n != 2 {
					t.Errorf("an expired watch led to %d lists", n)
				}
			})
		}
	}
}

// follow keeps a store up to date with a reflector.
func follow(t *testing.T, s *Server, contentType string, streams bool) cache.Store {
	t.Helper()
	c := client(t, s, contentType)
	var lw cache.ListerWatcher = &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return c.CoreV1().Pods("").List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return c.CoreV1().Pods("").Watch(ctx, o)
		},
	}
	lw = cache.ToListWatcherWithWatchListSemantics(lw.(*cache.ListWatch), listsOnly(!streams))
	store := cache.NewStore(cache.MetaNamespaceKeyFunc)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		cache.NewReflectorWithOptions(lw, &corev1.Pod{}, store, cache.ReflectorOptions{}).RunWithContext(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return store
}

// listsOnly tells a reflector that the client supports no initial events.
type listsOnly bool

// IsWatchListSemanticsUnSupported is called by the reflector.
func (l listsOnly) IsWatchListSemanticsUnSupported() bool { return bool(l) }

func await(t *testing.T, store cache.Store, want string) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for {
		keys := store.ListKeys()
		slices.Sort(keys)
		got := strings.Join(keys, " ")
		if got == want {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("got %q, want %q", got, want)
		}
	}
}
