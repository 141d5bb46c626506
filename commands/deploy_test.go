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

	"sigs.k8s.io/yaml"

	"example.com/coffee/coffee"
	"example.com/coffee/coffee/desk"
	"example.com/coffee/commands/internal/app"
)

// pod is what a test reads of the worker in deploy/kubernetes. The module in deploy checks
// the manifests with Kubernetes' own types.
type pod struct {
	Kind string `json:"kind"`
	Spec struct {
		Template struct {
			Spec struct {
				TerminationGracePeriodSeconds int64 `json:"terminationGracePeriodSeconds"`
				Containers                    []struct {
					Args []string `json:"args"`
				} `json:"containers"`
			} `json:"spec"`
		} `json:"template"`
	} `json:"spec"`
}

// readWorker returns the arguments of the worker, and how long it may take to stop.
func readWorker(t *testing.T) (args []string, grace time.Duration) {
	t.Helper()
	text, err := os.ReadFile("../deploy/kubernetes/worker.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, document := range strings.Split(string(text), "\n---\n") {
		var p pod
		if err := yaml.Unmarshal([]byte(document), &p); err != nil {
			t.Fatal(err)
		}
		if p.Kind == "Deployment" {
			spec := p.Spec.Template.Spec
			return spec.Containers[0].Args, time.Duration(spec.TerminationGracePeriodSeconds) * time.Second
		}
	}
	t.Fatal("there is no worker")
	return nil, 0
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
	args, grace := readWorker(t)
	if drain := drainTime(t, args); grace < drain+10*time.Second {
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
	args, grace := readWorker(t)
	s := newShop(t)
	start := func(brewTime string) *exec.Cmd {
		cmd := coffeeCommand(t, slices.Concat(args, []string{"--address", s.conn.At.Address, "-n", s.conn.Namespace, "--ledger", s.Book,
			"--charge-time", "10ms", "--brew-time", brewTime, "--receipt-time", "10ms", "--brew-failure-rate", "0"})...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
		return cmd
	}
	worker := start("3s")
	s.Place(ctx, "brewing")
	s.Await(ctx, "brewing", func(view desk.OrderView) bool { return view.BrewAttempts > 0 })
	if err := worker.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(grace, func() { worker.Process.Kill() })
	if err := worker.Wait(); err != nil {
		t.Errorf("the worker ended with %v", err)
	}
	start("9s") // for what comes after the brew
	s.WantCompleted(ctx, "brewing", 525)
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
