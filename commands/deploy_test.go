//go:build unix

package commands

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/commands/internal/app"
)

// manifests are the objects in deploy/kubernetes.
type manifests struct {
	deployments map[string]*appsv1.Deployment
	names       []string // KIND/NAME of every object
	budgets     []*policyv1.PodDisruptionBudget
	services    []*corev1.Service
	autoscalers []*autoscalingv2.HorizontalPodAutoscaler
}

// readManifests decodes every manifest with Kubernetes' own types, strictly: a field
// that they do not have is an error.
func readManifests(t *testing.T) manifests {
	t.Helper()
	m := manifests{deployments: map[string]*appsv1.Deployment{}}
	files, err := filepath.Glob("../deploy/kubernetes/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("there are no manifests", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, document := range strings.Split(string(text), "\n---\n") {
			var kind metav1.TypeMeta
			if err := yaml.Unmarshal([]byte(document), &kind); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			var object metav1.Object
			switch kind.APIVersion + " " + kind.Kind {
			case "v1 Namespace":
				object = &corev1.Namespace{}
			case "v1 ConfigMap":
				object = &corev1.ConfigMap{}
			case "v1 Secret":
				object = &corev1.Secret{}
			case "v1 Service":
				service := &corev1.Service{}
				m.services, object = append(m.services, service), service
			case "apps/v1 Deployment":
				object = &appsv1.Deployment{}
			case "policy/v1 PodDisruptionBudget":
				budget := &policyv1.PodDisruptionBudget{}
				m.budgets, object = append(m.budgets, budget), budget
			case "autoscaling/v2 HorizontalPodAutoscaler":
				autoscaler := &autoscalingv2.HorizontalPodAutoscaler{}
				m.autoscalers, object = append(m.autoscalers, autoscaler), autoscaler
			default:
				t.Fatalf("%s has a %s %s", file, kind.APIVersion, kind.Kind)
			}
			if err := yaml.UnmarshalStrict([]byte(document), object); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			if kind.Kind != "Namespace" && object.GetNamespace() != "coffee" {
				t.Errorf("%s: %s is in namespace %q", file, object.GetName(), object.GetNamespace())
			}
			m.names = append(m.names, kind.Kind+"/"+object.GetName())
			if deployment, ok := object.(*appsv1.Deployment); ok {
				m.deployments[deployment.Name] = deployment
			}
		}
	}
	return m
}

// TestManifests: what the manifests refer to is there, and nothing runs with more
// rights than it needs.
func TestManifests(t *testing.T) {
	t.Parallel()
	m := readManifests(t)
	has := func(name string) {
		t.Helper()
		if !slices.Contains(m.names, name) {
			t.Errorf("there is no %s", name)
		}
	}
	selected := func(what string, selector map[string]string) {
		t.Helper()
		for _, deployment := range m.deployments {
			if deployment.Spec.Template.Labels["app.kubernetes.io/name"] == selector["app.kubernetes.io/name"] && len(selector) == 1 {
				return
			}
		}
		t.Errorf("%s selects nothing with %v", what, selector)
	}
	for name, deployment := range m.deployments {
		selected(name, deployment.Spec.Selector.MatchLabels)
		pod := deployment.Spec.Template.Spec
		for _, volume := range pod.Volumes {
			has("Secret/" + volume.Secret.SecretName)
		}
		if pod.SecurityContext.RunAsNonRoot == nil || !*pod.SecurityContext.RunAsNonRoot || *pod.SecurityContext.RunAsUser != 65532 {
			t.Errorf("%s may run as root", name)
		}
		for _, container := range pod.Containers {
			for _, from := range container.EnvFrom {
				if from.ConfigMapRef != nil {
					has("ConfigMap/" + from.ConfigMapRef.Name)
				}
				if from.SecretRef != nil {
					has("Secret/" + from.SecretRef.Name)
				}
			}
			security := container.SecurityContext
			if *security.AllowPrivilegeEscalation || !*security.ReadOnlyRootFilesystem || !slices.Equal(security.Capabilities.Drop, []corev1.Capability{"ALL"}) {
				t.Errorf("%s has more rights than it needs", name)
			}
			if container.StartupProbe == nil || container.ReadinessProbe == nil {
				t.Errorf("%s has no probes", name)
			}
			wantFlags(t, container.Args)
			if exec := container.ReadinessProbe.Exec; exec != nil {
				wantFlags(t, exec.Command[1:])
			}
		}
	}
	for _, service := range m.services {
		selected("service "+service.Name, service.Spec.Selector)
	}
	for _, budget := range m.budgets {
		selected("budget "+budget.Name, budget.Spec.Selector.MatchLabels)
	}
	if len(m.autoscalers) != 1 || m.autoscalers[0].Spec.ScaleTargetRef.Name != "coffee-worker" || int(*m.autoscalers[0].Spec.MinReplicas) <= m.budgets[0].Spec.MinAvailable.IntValue() {
		t.Error("the autoscaler does not fit the workers and their budget")
	}
}

// wantFlags checks that the program takes a command line.
func wantFlags(t *testing.T, args []string) {
	t.Helper()
	var stderr bytes.Buffer
	if code := Run(context.Background(), slices.Concat([]string{"coffee"}, args, []string{"--help"}), io.Discard, &stderr, app.Options{}); code != 0 {
		t.Errorf("coffee %s: exit code %d, %s", strings.Join(args, " "), code, stderr.String())
	}
}

// drainTime returns the drain time in a worker's arguments.
func drainTime(t *testing.T, args []string) time.Duration {
	t.Helper()
	i := slices.Index(args, "--drain-time")
	if i < 0 || i == len(args)-1 {
		t.Fatalf("no drain time in %v", args)
	}
	d, err := time.ParseDuration(args[i+1])
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestGracePeriods: whoever stops a worker waits longer than the worker drains.
func TestGracePeriods(t *testing.T) {
	t.Parallel()
	pod := readManifests(t).deployments["coffee-worker"].Spec.Template.Spec
	grace := time.Duration(*pod.TerminationGracePeriodSeconds) * time.Second
	if drain := drainTime(t, pod.Containers[0].Args); grace < drain+10*time.Second {
		t.Errorf("the grace period is %v, and the drain time %v", grace, drain)
	}
	for name, service := range readCompose(t).Services {
		if len(service.Command) == 0 || service.Command[0] != "worker" {
			continue
		}
		grace, err := time.ParseDuration(service.StopGracePeriod)
		if drain := drainTime(t, service.Command); err != nil || grace < drain+10*time.Second {
			t.Errorf("the grace period of %s is %v, and the drain time %v, %v", name, grace, drain, err)
		}
	}
}

// compose is what a test reads of deploy/compose.yaml.
type compose struct {
	Services map[string]struct {
		Image           string         `json:"image"`
		Command         []string       `json:"command"`
		StopGracePeriod string         `json:"stop_grace_period"`
		Ports           []string       `json:"ports"`
		Volumes         []string       `json:"volumes"`
		DependsOn       map[string]any `json:"depends_on"`
	} `json:"services"`
	Volumes map[string]any `json:"volumes"`
}

func readCompose(t *testing.T) (c compose) {
	t.Helper()
	text, err := os.ReadFile("../deploy/compose.yaml")
	if err == nil {
		err = yaml.Unmarshal(text, &c)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestCompose: the services are there, with the files that they mount, and nothing
// listens beyond the machine.
func TestCompose(t *testing.T) {
	t.Parallel()
	c := readCompose(t)
	for _, name := range []string{"postgres", "temporal", "worker-1", "worker-2", "board", "prometheus", "grafana"} {
		if c.Services[name].Image == "" {
			t.Errorf("there is no %s", name)
		}
	}
	for name, service := range c.Services {
		if service.Image == "coffee" {
			wantFlags(t, service.Command)
		}
		for _, port := range service.Ports {
			if !strings.HasPrefix(port, "127.0.0.1:") {
				t.Errorf("%s listens on %s", name, port)
			}
		}
		for _, volume := range service.Volumes {
			source, _, _ := strings.Cut(volume, ":")
			if _, named := c.Volumes[source]; named {
				continue
			}
			if _, err := os.Stat(filepath.Join("../deploy", source)); err != nil {
				t.Error(err)
			}
		}
		for other := range service.DependsOn {
			if _, ok := c.Services[other]; !ok {
				t.Errorf("%s depends on %s", name, other)
			}
		}
	}
}

// TestWorkerDrains: on SIGTERM a worker with the manifest's arguments lets its brew end,
// takes no more work, and ends well within the grace period.
func TestWorkerDrains(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	pod := readManifests(t).deployments["coffee-worker"].Spec.Template.Spec
	s := newShop(t)
	start := func(brewTime string) *exec.Cmd {
		cmd := coffeeCommand(t, slices.Concat(pod.Containers[0].Args, []string{"--address", s.conn.At.Address, "-n", s.conn.Namespace, "--ledger", s.book,
			"--charge-time", "10ms", "--brew-time", brewTime, "--receipt-time", "10ms", "--brew-failure-rate", "0"})...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
		return cmd
	}
	worker := start("3s")
	s.place(ctx, "brewing")
	s.await(ctx, "brewing", func(view desk.OrderView) bool { return view.BrewAttempts > 0 })
	if err := worker.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(time.Duration(*pod.TerminationGracePeriodSeconds)*time.Second, func() { worker.Process.Kill() })
	if err := worker.Wait(); err != nil {
		t.Errorf("the worker ended with %v", err)
	}
	start("9s") // for what comes after the brew
	s.wantResult(ctx, "brewing", 525)
	brews := 0
	for _, event := range s.history(ctx, "brewing").GetEvents() {
		if started := event.GetActivityTaskStartedEventAttributes(); started.GetAttempt() > 1 {
			t.Errorf("event %d is attempt %d", event.GetEventId(), started.GetAttempt())
		}
		if event.GetActivityTaskScheduledEventAttributes().GetActivityType().GetName() == coffee.ActivityBrewCoffee {
			brews++
		}
	}
	if brews != 1 {
		t.Errorf("it was brewed %d times", brews)
	}
}

// TestAlarms: each alarm says what it means and what to do first, and has a case in which
// it fires. promtool runs the cases, in .ci/metrics.
func TestAlarms(t *testing.T) {
	t.Parallel()
	var rules struct {
		Groups []struct {
			Rules []struct {
				Alert       string
				Annotations map[string]string
			}
		}
	}
	var cases struct {
		Tests []struct {
			Rules []struct {
				Name   string           `json:"alertname"`
				Alerts []map[string]any `json:"exp_alerts"`
			} `json:"alert_rule_test"`
		}
	}
	for file, into := range map[string]any{"alerts.yaml": &rules, "alerts_test.yaml": &cases} {
		data, err := os.ReadFile("../deploy/prometheus/" + file)
		if err == nil {
			err = yaml.Unmarshal(data, into)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	fires, silent := map[string]bool{}, map[string]bool{}
	for _, test := range cases.Tests {
		for _, rule := range test.Rules {
			if len(rule.Alerts) > 0 {
				fires[rule.Name] = true
			} else {
				silent[rule.Name] = true
			}
		}
	}
	alarms := 0
	for _, group := range rules.Groups {
		for _, rule := range group.Rules {
			if rule.Alert == "" {
				continue // a recording rule
			}
			alarms++
			if !fires[rule.Alert] || !silent[rule.Alert] {
				t.Errorf("%s has no case in which it fires, or none in which it does not", rule.Alert)
			}
			if rule.Annotations["summary"] == "" || rule.Annotations["description"] == "" {
				t.Errorf("%s does not say what it means and what to do", rule.Alert)
			}
		}
	}
	if alarms < 5 {
		t.Errorf("there are only %d alarms", alarms)
	}
}
