package plane

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"modelservice.dev/local/internal/cluster"
	"modelservice.dev/local/internal/component"
	"modelservice.dev/local/internal/fleet"
	"modelservice.dev/local/internal/layout"
	"modelservice.dev/local/internal/node"
	"modelservice.dev/local/internal/pki"
	"modelservice.dev/local/internal/sandbox"
	"modelservice.dev/local/internal/spec"
	"modelservice.dev/local/internal/supervisor"
)

const specFile = "spec.json"

// forgetNodes deletes the Node objects of an earlier start that the nodes file
// no longer lists or describes in another way: a kubelet that finds its Node
// keeps the labels and taints it has. Nodes of others are not touched.
func (p *plane) forgetNodes(ctx context.Context) error {
	entries, err := os.ReadDir(p.boot.Dir.NodeConfigs())
	if err != nil {
		return err
	}
	wanted := map[string]spec.Node{}
	for _, entry := range p.boot.Nodes.Nodes {
		wanted[entry.Name] = entry
	}
	for _, entry := range entries {
		name := entry.Name()
		next, listed := wanted[name]
		if listed && reflect.DeepEqual(readSpec(p.boot.Dir, name), next) {
			continue
		}
		if err := p.client.CoreV1().Nodes().Delete(ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("cannot delete the node %s of an earlier start: %w", name, err)
		}
		if err := errors.Join(os.RemoveAll(p.boot.Dir.Node(name)), os.RemoveAll(p.boot.Dir.NodeConfig(name))); err != nil {
			return err
		}
	}
	return nil
}

func readSpec(dir layout.Dir, name string) spec.Node {
	var entry spec.Node
	data, err := os.ReadFile(filepath.Join(dir.NodeConfig(name), specFile))
	if err != nil || json.Unmarshal(data, &entry) != nil {
		return spec.Node{}
	}
	return entry
}

func programName(node string) string { return "node-" + node }

// startNodes starts the nodes that always run and the least of each group, and
// remembers their names.
func (p *plane) startNodes(ctx context.Context) error {
	for i, entry := range p.boot.Nodes.Nodes {
		if err := p.Start(ctx, i, entry); err != nil {
			return fmt.Errorf("node %s: %w", entry.Name, err)
		}
		p.names = append(p.names, entry.Name)
	}
	var err error
	p.fleet, err = fleet.New(p.client, p, p.boot.Nodes.Groups, len(p.boot.Nodes.Nodes),
		p.boot.Dir.Config("groups.json"), node.ParseCapacity)
	if err != nil {
		return err
	}
	least, err := p.fleet.StartLeast(ctx)
	p.names = append(p.names, least...)
	return err
}

// Start starts the process of a node with the i-th address and pod network. A
// node that dies stays dead, as a machine would.
func (p *plane) Start(ctx context.Context, i int, entry spec.Node) error {
	file, err := p.writeNode(i, entry)
	if err != nil {
		return err
	}
	p.supervisor.Keep(ctx, supervisor.Program{
		Name: programName(entry.Name), Path: sandbox.Self, Args: []string{"node", "--options", file},
		Log: p.boot.Dir.Log(programName(entry.Name)), OwnMounts: true,
	})
	return nil
}

// Has says whether a node was started and not removed.
func (p *plane) Has(name string) bool {
	_, found := p.supervisor.State(programName(name))
	return found
}

// Ended says whether the process of a node has ended.
func (p *plane) Ended(name string) bool {
	state, found := p.supervisor.State(programName(name))
	return found && state.Condition == supervisor.Stopped
}

// Remove kills the process of a node and removes its files.
func (p *plane) Remove(ctx context.Context, name string) error {
	if p.Has(name) {
		if err := p.supervisor.Remove(ctx, programName(name)); err != nil {
			return err
		}
	}
	return errors.Join(os.RemoveAll(p.boot.Dir.Node(name)), os.RemoveAll(p.boot.Dir.NodeConfig(name)))
}

// writeNode writes the credentials and options of the i-th node and returns
// the options' file.
func (p *plane) writeNode(i int, entry spec.Node) (string, error) {
	dir := p.boot.Dir
	config := dir.NodeConfig(entry.Name)
	if err := os.MkdirAll(config, 0o700); err != nil {
		return "", err
	}
	serving := filepath.Join(config, "kubelet-server")
	user := "system:node:" + entry.Name
	options := node.Options{
		Name:          entry.Name,
		IP:            layout.NodeIP(i),
		PodCIDR:       layout.PodCIDR(i),
		Kubeconfig:    filepath.Join(config, "kubeconfig"),
		CAFile:        dir.PKI("ca.crt"),
		CertFile:      serving + ".crt",
		KeyFile:       serving + ".key",
		ClusterDNS:    layout.DNSServiceIP,
		ClusterDomain: layout.ClusterDomain,
		RootDir:       dir.Node(entry.Name),
		ImagesFile:    p.boot.ImagesFile,
		Labels:        entry.Labels,
		Taints:        entry.Taints,
		Capacity:      entry.Capacity,
	}
	optionsFile := filepath.Join(config, "options.json")
	return optionsFile, errors.Join(
		component.WriteKubeconfig(options.Kubeconfig, layout.APIURL(), p.authority,
			pki.Request{CommonName: user, Organizations: []string{"system:nodes"}}),
		p.authority.IssueFiles(serving,
			pki.Request{CommonName: user, Addresses: []string{options.IP}, Names: []string{entry.Name}}),
		writeJSON(filepath.Join(config, specFile), entry),
		writeJSON(optionsFile, options),
	)
}

func writeJSON(path string, value any) error {
	data, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o600)
}

// awaitNodes waits until all nodes have reported since the start, and has
// kube-proxy serve them from the first one's appearance.
func (p *plane) awaitNodes(ctx context.Context, since time.Time) error {
	if len(p.names) == 0 {
		p.keep(ctx, component.Proxy, component.ProxyArgs(p.boot.Dir, "plane"))
		return nil
	}
	ready := cluster.NodesReady(p.client, p.names, since)
	check := func(ctx context.Context) error {
		if err := p.nodesAlive(); err != nil {
			return err
		}
		return ready(ctx)
	}
	if err := p.await(ctx, fmt.Sprintf("%d nodes", len(p.names)), programName(p.names[0]), check); err != nil {
		return err
	}
	p.keep(ctx, component.Proxy, component.ProxyArgs(p.boot.Dir, p.names[0]))
	return p.await(ctx, "Services", component.Proxy, cluster.Serves("http://127.0.0.1:10256/healthz"))
}

// nodesAlive names the first node whose process has ended.
func (p *plane) nodesAlive() error {
	for _, name := range p.names {
		if state, ok := p.supervisor.State(programName(name)); ok && state.Condition == supervisor.Stopped {
			return fmt.Errorf("node %s ended with %s, %w: see %s",
				name, state.LastExit, cluster.ErrHopeless, p.boot.Dir.Log(programName(name)))
		}
	}
	return nil
}
