package informer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/headless-dns/headless/informer/internal/object"
	"github.com/headless-dns/headless/informer/internal/selection"
)

// Cluster is the address of an API server, and the credentials for it: those of Kubeconfig
// if that is set, else of Endpoint. With neither, it is the API server of the cluster that
// the process runs in.
type Cluster struct {
	Kubeconfig, Context string // a file, and a context in it other than the current one
	Endpoint            string // a URL
	Cert, Key, CA       string // files, for Endpoint
	UserAgent           string
}

// ErrNotInPod is the error of New if no API server is configured and the environment names
// none, as it does in a pod.
var ErrNotInPod = errors.New("no API server is given, and this is not a pod")

func (c *Cluster) config() (*rest.Config, error) {
	var config *rest.Config
	var err error
	switch {
	case c.Kubeconfig != "":
		config, err = clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
			&clientcmd.ClientConfigLoadingRules{ExplicitPath: c.Kubeconfig},
			&clientcmd.ConfigOverrides{CurrentContext: c.Context},
		).ClientConfig()
		if clientcmd.IsEmptyConfig(err) {
			err = errors.New("it names no cluster")
		}
		if err != nil {
			return nil, fmt.Errorf("load kubeconfig %q: %w", c.Kubeconfig, err)
		}
	case c.Endpoint != "":
		config = &rest.Config{
			Host:            c.Endpoint,
			TLSClientConfig: rest.TLSClientConfig{CertFile: c.Cert, KeyFile: c.Key, CAFile: c.CA},
		}
	default:
		if config, err = rest.InClusterConfig(); errors.Is(err, rest.ErrNotInCluster) {
			return nil, ErrNotInPod
		} else if err != nil {
			return nil, fmt.Errorf("load in-cluster configuration: %w", err)
		}
	}
	config.UserAgent = c.UserAgent
	// By default, client-go sends at most five requests a second. After a restart of the
	// API server, the watches of a hundred namespaces would take minutes to resume. The
	// reflectors' back-off and the server's priority and fairness limit the load.
	config.QPS = -1
	config.ContentType = runtime.ContentTypeProtobuf
	config.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	return config, nil
}

// cluster is the source that lists and watches an API server.
type cluster struct {
	core, discovery rest.Interface // clients of the API groups
	selected        *selection.Selection
	leftovers       *leftovers     // nil if no pods are watched
	imports         *importWatches // nil without Config.MultiCluster
	log             logr.Logger
	failing         func(object.Kind, bool) // Failing of Hooks
	outage          outage
	restored        atomic.Bool // a snapshot stands in for the missing lists
	// allServices is set once the API server has refused to select headless Services.
	allServices atomic.Bool

	clock   clock.WithTickerAndDelayedExecution
	backoff wait.Backoff // of each reflector
}

// retryBackoff is the back-off of a reflector, at most 5 to 10 seconds. The default grows
// to a minute, which would delay the first changes after an outage by as much. Frequent
// retries are cheap: while no watch can be resumed, each lists a single object.
var retryBackoff = wait.Backoff{Duration: 800 * time.Millisecond, Factor: 2, Jitter: 1, Cap: 5 * time.Second, Steps: 10}

func newCluster(c *Config, s *selection.Selection, j *joiner) (*cluster, error) {
	config, err := c.Cluster.config()
	if err != nil {
		return nil, err
	}
	if c.Transport != nil {
		config.Wrap(c.Transport)
	}
	config.NegotiatedSerializer = object.NewCodec(j.reuse, c.Zonal)
	out := &cluster{selected: s, log: c.Log, failing: c.Hooks.Failing, clock: clock.RealClock{}, backoff: retryBackoff}
	if s.Pods {
		out.leftovers = newLeftovers(out, j)
	}
	client, err := rest.HTTPClientFor(config)
	if err == nil {
		out.core, err = newClient(config, client, "/api", corev1.SchemeGroupVersion)
	}
	if err == nil {
		out.discovery, err = newClient(config, client, "/apis", discoveryv1.SchemeGroupVersion)
	}
	if err == nil && s.Imports {
		out.imports = &importWatches{cluster: out, clients: make(map[schema.GroupVersion]rest.Interface)}
		for _, version := range object.ImportVersions {
			if out.imports.clients[version], err = newClient(config, client, "/apis", version); err != nil {
				break
			}
		}
	}
	if err != nil {
		return nil, fmt.Errorf("create client for API server %q: %w", config.Host, err)
	}
	return out, nil
}

func newClient(config *rest.Config, client *http.Client, path string, version schema.GroupVersion) (rest.Interface, error) {
	config = rest.CopyConfig(config)
	config.APIPath, config.GroupVersion = path, &version
	return rest.RESTClientForConfigAndClient(config, client)
}

func (c *cluster) origins() []object.Origin {
	return append(c.selected.Origins(), c.selected.LeftoverOrigins()...)
}

func (c *cluster) run(ctx context.Context, q *queue) {
	// Client-go logs a fault at each retry, or never. The outage logs faults instead.
	ctx = klog.NewContext(ctx, logr.Discard())
	var group sync.WaitGroup
	for _, o := range c.selected.Origins() {
		if o.Kind == object.ServiceImports {
			continue
		}
		r := c.reflector(ctx, newHealth(o, c), &store{Origin: o, queue: q})
		group.Go(func() { r.RunWithContext(ctx) })
	}
	if c.leftovers != nil {
		group.Go(func() { c.leftovers.run(ctx, q) })
	}
	if c.imports != nil {
		group.Go(func() { c.imports.run(ctx, q) })
	}
	group.Wait()
}

// reflector returns a reflector that lists and watches the origin of a store.
func (c *cluster) reflector(ctx context.Context, h *health, s *store) *cache.Reflector {
	log := logr.Discard()
	return cache.NewReflectorWithOptions(c.listWatch(h, s), &object.Decoded{}, s,
		cache.ReflectorOptions{Name: "headless " + s.Kind.String(), Logger: &log, Clock: contextClock{c.clock, ctx}, Backoff: &c.backoff})
}

// contextClock is a clock whose waits end with a context. A reflector that waits for a
// retry ignores its own context.
type contextClock struct {
	clock.WithTickerAndDelayedExecution
	ctx context.Context
}

// After implements clock.Clock.
func (m contextClock) After(d time.Duration) <-chan time.Time {
	out := make(chan time.Time, 1)
	t := m.NewTimer(d)
	go func() {
		defer t.Stop()
		select {
		case now := <-t.C():
			out <- now
		case <-m.ctx.Done():
			out <- m.Now()
		}
	}()
	return out
}

func (c *cluster) listWatch(h *health, s *store) *cache.ListWatch {
	o, client := s.Origin, c.core
	switch o.Kind {
	case object.EndpointSlices, object.LeftoverSlices, object.ImportedSlices:
		client = c.discovery
	case object.ServiceImports:
		client = s.client
	}
	// The client itself must not retry: the reflector does, less often, and reports the
	// fault.
	request := func(options *metav1.ListOptions) *rest.Request {
		r := client.Get().MaxRetries(0).Namespace(o.Namespace).Resource(o.Kind.Resource()).VersionedParams(options, parameterCodec)
		if o.Kind == object.Nodes {
			r.SetHeader("Accept", acceptMetadata(options.Watch))
		}
		return r
	}
	timed := func(options *metav1.ListOptions) *rest.Request {
		r := request(options)
		if options.TimeoutSeconds != nil {
			r.Timeout(time.Duration(*options.TimeoutSeconds) * time.Second)
		}
		return r
	}
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			return h.list(ctx, func(ctx context.Context) (list runtime.Object, err error) {
				err = c.withSelectors(s, &options, func() error {
					list, err = timed(&options).Do(ctx).Get()
					return err
				})
				return list, err
			})
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			options.Watch = true
			if options.SendInitialEvents == nil { // the watch resumes
				// List one object to learn the server's version. A selector would cost the server
				// work.
				one := request(&metav1.ListOptions{Limit: 1})
				if err := h.checkVersion(ctx, options.ResourceVersion, func(ctx context.Context) rest.Result {
					result := one.Do(ctx)
					s.checkAbsent(result.Error())
					return result
				}); err != nil {
					return nil, err
				}
			}
			return h.watch(ctx, &options, func(ctx context.Context) (w watch.Interface, err error) {
				err = c.withSelectors(s, &options, func() error {
					w, err = timed(&options).Watch(ctx)
					return err
				})
				return w, err
			})
		},
	}
}

// acceptMetadata returns the media types of a request for the metadata of objects alone. A Node is
// many times as long. Last comes the whole object, for API servers before Kubernetes 1.15.
func acceptMetadata(watch bool) string {
	kind := "PartialObjectMetadataList"
	if watch {
		kind = "PartialObjectMetadata"
	}
	of := ";as=" + kind + ";g=meta.k8s.io;v=v1"
	return runtime.ContentTypeProtobuf + of + "," + runtime.ContentTypeJSON + of + "," + runtime.ContentTypeJSON
}

// withSelectors calls do with the options narrowed to the objects that a store takes. API
// servers before Kubernetes 1.31 reject the field selector of Services with 400. In that
// case withSelectors calls do for all Services, and leaves out the selector from then on.
// The joiner serves only the headless ones.
func (c *cluster) withSelectors(s *store, options *metav1.ListOptions, do func() error) error {
	if s.Kind == object.LeftoverSlices {
		options.LabelSelector = c.selected.Leftover(s.services).String()
		return do()
	}
	c.selected.Options(s.Kind, options)
	if s.Kind != object.Services {
		err := do()
		s.checkAbsent(err)
		return err
	}
	if !c.allServices.Load() {
		// The reply to another bad request does not name the field.
		if err := do(); !apierrors.IsBadRequest(err) || !strings.Contains(err.Error(), selection.ClusterIPField) {
			return err
		}
	}
	options.FieldSelector = ""
	err := do()
	if err == nil && c.allServices.CompareAndSwap(false, true) {
		c.log.Info("API server is older than Kubernetes 1.31 and cannot select headless Services, so all Services are watched")
	}
	return err
}

// parameterCodec encodes list options in URLs.
var parameterCodec = runtime.NewParameterCodec(object.Scheme)

var _ interface {
	cache.TransformingStore
	cache.ReflectorBookmarkStore
} = (*store)(nil)
