package main

import (
	"slices"
	"testing"

	"github.com/coredns/caddy"
)

func TestPluginsAreThoseOfAClusterDNSAndNoneThatForwards(t *testing.T) {
	var have []string
	for _, plugins := range caddy.ListPlugins() {
		have = append(have, plugins...)
	}
	for _, name := range []string{"bind", "cache", "errors", "health", "kubernetes", "loadbalance", "log", "prometheus", "ready"} {
		if !slices.Contains(have, "dns."+name) {
			t.Errorf("plugin %s is missing; there are %v", name, have)
		}
	}
	for _, name := range []string{"forward", "grpc", "proxy"} {
		if slices.Contains(have, "dns."+name) {
			t.Errorf("plugin %s would send queries out of the cluster", name)
		}
	}
}
