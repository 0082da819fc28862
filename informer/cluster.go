package informer

import (
	"context"
	"fmt"
	"sync"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
)

// Cluster is how to reach an API server. The first of Kubeconfig and Endpoint
// that is set counts; with neither, it is the one of the cluster that the process
// runs in.
type Cluster struct {
	Kubeconfig, Context string // a file, and a context of it other than the current
	Endpoint            string // a URL
	Cert, Key, CA       string // files, for Endpoint
	UserAgent           string
}

func (c *Cluster) config() (*rest.Config, error) {
	var config *rest.Config
	var err error
	switch {
	case c.Kubeconfig != "":
		config, err = clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
			&clientcmd.ClientConfigLoadingRules{ExplicitPath: c.Kubeconfig},
			&clientcmd.ConfigOverrides{CurrentContext: c.Context},
		).ClientConfig()
		if err != nil {
			return nil, fmt.Errorf("load kubeconfig %q: %w", c.Kubeconfig, err)
		}
	case c.Endpoint != "":
		config = &rest.Config{
			Host:            c.Endpoint,
			TLSClientConfig: rest.TLSClientConfig{CertFile: c.Cert, KeyFile: c.Key, CAFile: c.CA},
		}
	default:
		if config, err = rest.InClusterConfig(); err != nil {
			return nil, fmt.Errorf("load in-cluster configuration: %w", err)
		}
	}
	config.UserAgent = c.UserAgent
	config.ContentType = runtime.ContentTypeProtobuf
	config.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	return config, nil
}

// cluster is the source that watches an API server.
type cluster struct {
	client   kubernetes.Interface
	selected *selected
	log      logr.Logger
}

func newCluster(c *Config, s *selected) (*cluster, error) {
	config, err := c.Cluster.config()
	if err != nil {
		return nil, err
	}
	if c.Transport != nil {
		config.Wrap(c.Transport)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make client for API server %q: %w", config.Host, err)
	}
	return &cluster{client: client, selected: s, log: c.Log}, nil
}

func (c *cluster) origins() []origin { return c.selected.origins() }

func (c *cluster) run(ctx context.Context, q *queue) {
	ctx = klog.NewContext(ctx, c.log)
	var wait sync.WaitGroup
	for _, o := range c.origins() {
		r := c.reflector(o, q)
		wait.Go(func() { r.RunWithContext(ctx) })
	}
	wait.Wait()
}

// reflector lists and watches what an origin covers, again and again.
func (c *cluster) reflector(o origin, q *queue) *cache.Reflector {
	name := "headless " + o.kind.String()
	if o.namespace != "" {
		name += " of " + o.namespace
	}
	lw, example := c.listWatch(o)
	return cache.NewReflectorWithOptions(
		cache.ToListWatcherWithWatchListSemantics(lw, c.client), example, &store{origin: o, queue: q},
		cache.ReflectorOptions{Name: name, Logger: &c.log})
}

func (c *cluster) listWatch(o origin) (*cache.ListWatch, runtime.Object) {
	switch o.kind {
	case Services:
		api := c.client.CoreV1().Services(o.namespace)
		return listWatch(c.selected, o.kind, api.List, api.Watch), &corev1.Service{}
	case Pods:
		api := c.client.CoreV1().Pods(o.namespace)
		return listWatch(c.selected, o.kind, api.List, api.Watch), &corev1.Pod{}
	case EndpointSlices:
		api := c.client.DiscoveryV1().EndpointSlices(o.namespace)
		return listWatch(c.selected, o.kind, api.List, api.Watch), &discoveryv1.EndpointSlice{}
	default:
		api := c.client.CoreV1().Namespaces()
		return listWatch(c.selected, o.kind, api.List, api.Watch), &corev1.Namespace{}
	}
}

func listWatch[L runtime.Object](
	s *selected, kind Kind,
	list func(context.Context, metav1.ListOptions) (L, error),
	open func(context.Context, metav1.ListOptions) (watch.Interface, error),
) *cache.ListWatch {
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			s.options(kind, &o)
			return list(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			s.options(kind, &o)
			return open(ctx, o)
		},
	}
}

// store is what a reflector writes to: it slims every object and queues it. A
// full object is not kept; during an initial stream neither, as Transformer is
// applied to each object when it arrives.
type store struct {
	origin
	queue *queue
}

var _ interface {
	cache.TransformingStore
	cache.ReflectorBookmarkStore
} = (*store)(nil)

// Transformer implements cache.TransformingStore.
func (s *store) Transformer() cache.TransformFunc {
	return func(obj any) (any, error) { return slim(obj) }
}

// Add implements cache.ReflectorStore.
func (s *store) Add(obj any) error { return s.Update(obj) }

// Update implements cache.ReflectorStore.
func (s *store) Update(obj any) error {
	o, err := slim(obj)
	if err != nil {
		return err
	}
	s.queue.push(event{origin: s.origin, object: o})
	return nil
}

// Delete implements cache.ReflectorStore. The object may be one whose deletion
// was missed, of which only the name is known for sure.
func (s *store) Delete(obj any) error {
	name, err := cache.DeletionHandlingObjectToName(obj)
	if err != nil {
		return fmt.Errorf("delete object: %w", err)
	}
	s.queue.push(event{origin: s.origin, key: key{name.Namespace, name.Name}})
	return nil
}

// Replace implements cache.ReflectorStore.
func (s *store) Replace(list []any, _ string) error {
	objects := make([]object, 0, len(list))
	for _, obj := range list {
		o, err := slim(obj)
		if err != nil {
			return err
		}
		objects = append(objects, o)
	}
	s.queue.push(event{origin: s.origin, list: true, objects: objects})
	return nil
}

// Bookmark implements cache.ReflectorBookmarkStore: a watch with nothing to tell
// is alive.
func (s *store) Bookmark(string) error {
	s.queue.received(s.kind)
	return nil
}

// Resync implements cache.ReflectorStore; there is nothing to repeat.
func (s *store) Resync() error { return nil }
