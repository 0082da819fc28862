//go:build cluster

package rendezvous_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	client "k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/ptr"
)

const service = "peers"

// maxPeers is the most others that a pod looks up, so that the lookups themselves, all on this
// machine, do not take longer than the pods.
const maxPeers = 20

// meeting is the pods of a StatefulSet that look each other up.
type meeting struct {
	api       *client.Clientset
	namespace string
	resolvers []resolver // each pod uses one of them
	pause     time.Duration

	addressed []atomic.Int64 // when each pod got its address, in nanoseconds since 1970; 0: not yet

	mu    sync.Mutex
	ended time.Time // the last first success of a lookup
	outcome
}

// outcome is what the first lookups of the pods found.
type outcome struct {
	first     int           // first lookups of a pod by another
	succeeded int           // those with an address
	known     int           // first lookups of a pod that had an address by then
	failed    int           // those without an address
	oldest    time.Duration // the age of an address that a first lookup did not find
	slowest   time.Duration // from the address of the last pod until every lookup has succeeded
	errors    int           // lookups without a reply, or with another one than the name's
	lastError error
}

// create creates the service, with publishNotReadyAddresses or without, and the StatefulSet.
func (m *meeting) create(ctx context.Context, publish bool) error {
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: m.namespace}}
	if _, err := m.api.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil {
		return err
	}
	labels := map[string]string{"app": service}
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: service}, Spec: corev1.ServiceSpec{
		ClusterIP: corev1.ClusterIPNone, Selector: labels, PublishNotReadyAddresses: publish,
	}}
	if _, err := m.api.CoreV1().Services(m.namespace).Create(ctx, s, metav1.CreateOptions{}); err != nil {
		return err
	}
	set := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Name: "peer"}, Spec: appsv1.StatefulSetSpec{
		ServiceName: service, Replicas: ptr.To(int32(len(m.addressed))), PodManagementPolicy: appsv1.ParallelPodManagement,
		Selector: &metav1.LabelSelector{MatchLabels: labels},
		Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: labels},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "peer", Image: "peer"}}},
		},
	}}
	_, err := m.api.AppsV1().StatefulSets(m.namespace).Create(ctx, set, metav1.CreateOptions{})
	return err
}

// remove deletes the StatefulSet and waits until its pods are gone.
func (m *meeting) remove(ctx context.Context) error {
	if err := m.api.CoreV1().Namespaces().Delete(ctx, m.namespace, metav1.DeleteOptions{}); err != nil {
		return err
	}
	for {
		pods, err := m.api.CoreV1().Pods(m.namespace).List(ctx, metav1.ListOptions{Limit: 1})
		if err != nil || len(pods.Items) == 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// meet creates the pods. Each begins to look up the others when it has its address. It returns
// when all lookups have succeeded.
func (m *meeting) meet(ctx context.Context, publish bool) (outcome, error) {
	factory := informers.NewSharedInformerFactoryWithOptions(m.api, 0, informers.WithNamespace(m.namespace))
	began := make(chan int)
	see := func(o any) {
		if pod, ok := o.(*corev1.Pod); ok && pod.Status.PodIP != "" {
			var i int
			if _, err := fmt.Sscanf(pod.Name, "peer-%d", &i); err != nil || !m.addressed[i].CompareAndSwap(0, time.Now().UnixNano()) {
				return
			}
			select {
			case began <- i:
			case <-ctx.Done():
			}
		}
	}
	handler := cache.ResourceEventHandlerFuncs{AddFunc: see, UpdateFunc: func(_, o any) { see(o) }}
	if _, err := factory.Core().V1().Pods().Informer().AddEventHandler(handler); err != nil {
		return outcome{}, err
	}
	watching, stop := context.WithCancel(ctx)
	defer factory.Shutdown()
	defer stop()
	factory.StartWithContext(watching)
	factory.WaitForCacheSyncWithContext(watching)
	if err := m.create(ctx, publish); err != nil {
		return outcome{}, err
	}
	var pods errgroup.Group
	for range m.addressed {
		select {
		case i := <-began:
			pods.Go(func() error { return m.join(ctx, i) })
		case <-ctx.Done():
			return outcome{}, ctx.Err()
		}
	}
	if err := pods.Wait(); err != nil {
		return outcome{}, err
	}
	last := int64(0)
	for i := range m.addressed {
		last = max(last, m.addressed[i].Load())
	}
	m.outcome.slowest = m.ended.Sub(time.Unix(0, last))
	return m.outcome, nil
}

// join is the start of pod i: it looks up each other pod once, and then each that it has not found
// again and again.
func (m *meeting) join(ctx context.Context, i int) error {
	n := len(m.addressed)
	r := m.resolvers[i%len(m.resolvers)]
	var again []int
	for k := 1; k < n && k <= maxPeers; k++ {
		peer := (i + k*max(1, (n-1)/maxPeers)) % n
		begin := time.Now()
		since := m.addressed[peer].Load()
		err := r.lookup(ctx, fmt.Sprint("peer-", peer), service, m.namespace)
		m.record(since, begin, err)
		if err != nil {
			again = append(again, peer)
		}
	}
	for _, peer := range again {
		for {
			err := r.lookup(ctx, fmt.Sprint("peer-", peer), service, m.namespace)
			if err == nil {
				break
			}
			m.note(err)
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(m.pause):
			}
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended = time.Now() // the pods take the lock one after another
	return nil
}

// note counts a lookup that failed for another reason than that there is no such name.
func (m *meeting) note(err error) {
	if !errors.Is(err, errNoName) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.errors++
		m.lastError = err
	}
}

// record counts a first lookup of a pod, which had its address since some time, or 0.
func (m *meeting) record(since int64, begin time.Time, err error) {
	if err != nil {
		m.note(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.first++
	if err == nil {
		m.succeeded++
	}
	if since == 0 {
		return
	}
	m.known++
	if err != nil {
		m.failed++
		m.oldest = max(m.oldest, begin.Sub(time.Unix(0, since)))
	}
}
