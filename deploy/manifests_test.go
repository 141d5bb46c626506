//go:build unix

// Package deploy checks the manifests. It is a module of its own, so that the program does
// not depend on Kubernetes' types.
package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
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
	files, err := filepath.Glob("kubernetes/*.yaml")
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
	program := filepath.Join(t.TempDir(), "coffee")
	if out, err := exec.Command("go", "build", "-C", "..", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	wantFlags := func(args []string) {
		t.Helper()
		if out, err := exec.Command(program, append(args, "--help")...).CombinedOutput(); err != nil {
			t.Errorf("coffee %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
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
			wantFlags(container.Args)
			if exec := container.ReadinessProbe.Exec; exec != nil {
				wantFlags(exec.Command[1:])
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
