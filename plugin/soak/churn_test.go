//go:build soak

package soak_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
	"k8s.io/utils/ptr"
)

const (
	workloads  = 10 // every fifth is a Deployment, the others are StatefulSets
	extraPods  = 10 // of each extra workload
	mostExtras = 3
)

// churn changes a cluster. A workload is a service, and a StatefulSet or Deployment with
// its pods.
type churn struct {
	*kubernetes
	rand     *rand.Rand
	replicas int          // pods of a workload by default
	deleted  string       // the service that is deleted now, or empty
	unready  []corev1.Pod // the pods that are unready by a change
	extras   []string     // the temporary workloads that exist now
	created  int          // temporary workloads so far

	next []int          // the kinds of changes before the next shuffle
	done map[string]int // number of changes by kind
}

func newChurn(k *kubernetes, replicas int, r *rand.Rand) *churn {
	return &churn{kubernetes: k, rand: r, replicas: replicas, done: make(map[string]int)}
}

func (c *churn) leastScaled() int { return c.replicas / 2 }
func (c *churn) mostScaled() int  { return c.replicas * 3 / 2 }

func workload(i int) string {
	if isDeployment(i) {
		return fmt.Sprintf("api-%d", i)
	}
	return fmt.Sprintf("db-%d", i)
}

func isDeployment(i int) bool { return i%5 == 4 }

// create creates the namespace, the steady service and the workloads.
func (c *churn) create() error {
	ctx := context.Background()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
	if _, err := c.api.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil {
		return err
	}
	if err := c.createSet(steady.service, 1); err != nil {
		return err
	}
	for i := range workloads {
		if !isDeployment(i) {
			if err := c.createSet(workload(i), c.replicas); err != nil {
				return err
			}
			continue
		}
		if err := c.createService(workload(i)); err != nil {
			return err
		}
		d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: workload(i)}, Spec: appsv1.DeploymentSpec{
			Replicas: ptr.To(int32(c.replicas)), Selector: selector(workload(i)), Template: template(workload(i)),
		}}
		if _, err := c.api.AppsV1().Deployments(namespace).Create(ctx, d, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	return nil
}

func (c *churn) createService(name string) error {
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.ServiceSpec{
		ClusterIP: corev1.ClusterIPNone, Selector: map[string]string{"app": name}, Ports: []corev1.ServicePort{{Name: "web", Port: 80}},
	}}
	_, err := c.api.CoreV1().Services(namespace).Create(context.Background(), s, metav1.CreateOptions{})
	return err
}

func (c *churn) createSet(name string, pods int) error {
	if err := c.createService(name); err != nil {
		return err
	}
	s := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: appsv1.StatefulSetSpec{
		ServiceName: name, Replicas: ptr.To(int32(pods)), PodManagementPolicy: appsv1.ParallelPodManagement,
		Selector: selector(name), Template: template(name),
	}}
	_, err := c.api.AppsV1().StatefulSets(namespace).Create(context.Background(), s, metav1.CreateOptions{})
	return err
}

func selector(app string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{"app": app}}
}

func template(app string) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": app}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "app"}}},
	}
}

// names returns the names that have an address most of the time.
func (c *churn) names() []string {
	names := []string{steady.name()}
	for i := range workloads {
		names = append(names, question{service: workload(i)}.name())
		for pod := range c.replicas {
			if !isDeployment(i) {
				names = append(names, question{workload(i), fmt.Sprintf("%s-%d", workload(i), pod)}.name())
			}
		}
	}
	return names
}

// kinds are the kinds of changes. i is a random workload.
var kinds = []struct {
	name   string
	change func(c *churn, i int) error
}{
	{"rollouts", (*churn).rollOut},
	{"scalings", func(c *churn, i int) error {
		return c.scale(i, c.leastScaled()+c.rand.IntN(c.mostScaled()-c.leastScaled()+1))
	}},
	{"deletions of pods", (*churn).deletePods},
	{"services deleted or recreated", (*churn).flipService},
	{"workloads created or deleted", func(c *churn, _ int) error { return c.flipExtra() }},
	{"readiness", (*churn).flipReadiness},
}

// step makes one change, which may affect many pods.
func (c *churn) step() error {
	if len(c.next) == 0 {
		c.next = c.rand.Perm(len(kinds))
	}
	kind := kinds[c.next[0]]
	c.next = c.next[1:]
	if err := kind.change(c, c.rand.IntN(workloads)); err != nil {
		return fmt.Errorf("change the cluster (%s): %w", kind.name, err)
	}
	c.done[kind.name]++
	return nil
}

// rollOut replaces the pods of a workload; those of a StatefulSet one after the other.
func (c *churn) rollOut(i int) error {
	patch := fmt.Sprintf(`"template":{"metadata":{"annotations":{"rollout":"%d"}}}`, c.rand.Uint64())
	if !isDeployment(i) {
		patch += `,"updateStrategy":{"rollingUpdate":{"partition":0}}`
	}
	return c.patch(i, `{"spec":{`+patch+`}}`)
}

// pause stops the rollout of a StatefulSet, which takes minutes otherwise.
func (c *churn) pause(i int) error {
	if isDeployment(i) {
		return nil
	}
	return c.patch(i, fmt.Sprintf(`{"spec":{"updateStrategy":{"rollingUpdate":{"partition":%d}}}}`, c.mostScaled()))
}

func (c *churn) patch(i int, patch string) (err error) {
	ctx, apps := context.Background(), c.api.AppsV1()
	if isDeployment(i) {
		_, err = apps.Deployments(namespace).Patch(ctx, workload(i), types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{})
	} else {
		_, err = apps.StatefulSets(namespace).Patch(ctx, workload(i), types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{})
	}
	return err
}

func (c *churn) scale(i, n int) error { return c.patch(i, fmt.Sprintf(`{"spec":{"replicas":%d}}`, n)) }

func (c *churn) pods(app string) ([]corev1.Pod, error) {
	list, err := c.api.CoreV1().Pods(namespace).List(context.Background(), metav1.ListOptions{LabelSelector: "app=" + app})
	if err != nil {
		return nil, err
	}
	c.rand.Shuffle(len(list.Items), func(i, k int) { list.Items[i], list.Items[k] = list.Items[k], list.Items[i] })
	return list.Items, nil
}

// deletePods deletes up to 20 pods, in half of the cases without a grace period.
func (c *churn) deletePods(i int) error {
	pods, err := c.pods(workload(i))
	if err != nil {
		return err
	}
	options := metav1.DeleteOptions{}
	if c.rand.IntN(2) == 0 {
		options.GracePeriodSeconds = ptr.To(int64(0))
	}
	for _, pod := range pods[:min(len(pods), 1+c.rand.IntN(20))] {
		err := c.api.CoreV1().Pods(namespace).Delete(context.Background(), pod.Name, options)
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return nil
}

// flipService deletes a service without its pods, or recreates the deleted one.
func (c *churn) flipService(i int) (err error) {
	if c.deleted != "" {
		if err = c.createService(c.deleted); err == nil {
			c.deleted = ""
		}
		return err
	}
	c.deleted = workload(i)
	return c.api.CoreV1().Services(namespace).Delete(context.Background(), c.deleted, metav1.DeleteOptions{})
}

// flipExtra creates a temporary workload, or deletes the oldest if there are enough.
func (c *churn) flipExtra() error {
	if len(c.extras) < mostExtras {
		c.created++
		name := fmt.Sprintf("extra-%d", c.created) // a new name each time, so that leaks of names show
		c.extras = append(c.extras, name)
		return c.createSet(name, extraPods)
	}
	return c.deleteExtra()
}

func (c *churn) deleteExtra() error {
	ctx, name := context.Background(), c.extras[0]
	c.extras = c.extras[1:]
	if err := c.api.CoreV1().Services(namespace).Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		return err
	}
	return c.api.AppsV1().StatefulSets(namespace).Delete(ctx, name, metav1.DeleteOptions{PropagationPolicy: ptr.To(metav1.DeletePropagationBackground)})
}

// flipReadiness makes some pods unready, or ready again.
func (c *churn) flipReadiness(i int) error {
	if len(c.unready) > 0 {
		return c.makeReady()
	}
	pods, err := c.pods(workload(i))
	if err != nil {
		return err
	}
	for _, pod := range pods[:min(len(pods), 10)] {
		if isReady(&pod) {
			c.unready = append(c.unready, pod)
			if err := c.setReady(&pod, corev1.ConditionFalse); err != nil {
				return err
			}
		}
	}
	return nil
}

// makeReady makes all pods that churn made unready ready again.
func (c *churn) makeReady() error {
	for _, pod := range c.unready {
		if err := c.setReady(&pod, corev1.ConditionTrue); err != nil {
			return err
		}
	}
	c.unready = nil
	return nil
}

// setReady sets the condition Ready of a pod. It does nothing if the pod is gone, or
// another pod has its name.
func (c *churn) setReady(pod *corev1.Pod, status corev1.ConditionStatus) error {
	ctx, pods := context.Background(), c.api.CoreV1().Pods(namespace)
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		now, err := pods.Get(ctx, pod.Name, metav1.GetOptions{})
		if err != nil || now.UID != pod.UID {
			return err
		}
		for i := range now.Status.Conditions {
			if condition := &now.Status.Conditions[i]; condition.Type == corev1.PodReady {
				condition.Status = status
			}
		}
		_, err = pods.UpdateStatus(ctx, now, metav1.UpdateOptions{})
		return err
	})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// reset returns the cluster to the state after create.
func (c *churn) reset() error {
	if c.deleted != "" {
		if err := c.flipService(0); err != nil {
			return err
		}
	}
	if err := c.makeReady(); err != nil {
		return err
	}
	for len(c.extras) > 0 {
		if err := c.deleteExtra(); err != nil {
			return err
		}
	}
	for i := range workloads {
		if err := errors.Join(c.pause(i), c.scale(i, c.replicas)); err != nil {
			return err
		}
	}
	return nil
}

// settled returns an error unless the cluster has exactly the pods of create, all ready.
func (c *churn) settled() error {
	list, err := c.api.CoreV1().Pods(namespace).List(context.Background(), metav1.ListOptions{})
	if err != nil {
		return err
	}
	ready := 0
	for _, pod := range list.Items {
		if pod.DeletionTimestamp == nil && isReady(&pod) {
			ready++
		}
	}
	if want := workloads*c.replicas + 1; ready != want || len(list.Items) != want {
		return fmt.Errorf("%d of %d pods are ready, want %d", ready, len(list.Items), want)
	}
	return nil
}
