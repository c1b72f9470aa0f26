// Package network sets up the network namespace that the control plane and all
// nodes share.
package network

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"

	"modelservice.dev/local/internal/layout"
)

// A pod that calls a Service and is sent to itself would see its own address as
// the source and answer past the address translation. kube-proxy masquerades
// that case only for endpoints of the node it runs on, and all nodes share one.
// The set remembers which pods opened connections in the last minute.
const hairpinRules = `
table ip localcluster {
	set callers {
		type ipv4_addr . ipv4_addr
		flags dynamic, timeout
		timeout 1m
	}
	chain prerouting {
		type filter hook prerouting priority -110; policy accept;
		ip saddr ` + layout.PodNetwork + ` ct state new update @callers { ip saddr . ip saddr }
	}
	chain postrouting {
		type nat hook postrouting priority 90; policy accept;
		ct status dnat ip saddr . ip daddr @callers masquerade
	}
}
`

// ErrNoNFT says that the program nft is missing.
var ErrNoNFT = errors.New("the program nft is missing: install the package nftables")

// FindNFT returns the path of nft. It also looks where PATH of an unprivileged
// user often does not.
func FindNFT() (string, error) {
	if path, err := exec.LookPath("nft"); err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/local/sbin"} {
		path := filepath.Join(dir, "nft")
		if info, err := os.Stat(path); err == nil && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", ErrNoNFT
}

// Setup gives the loopback device the addresses of the plane and of nodes
// nodes, routes Services to it and turns forwarding on.
func Setup(nodes int) error {
	loopback, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("cannot find the loopback device: %w", err)
	}
	if err := netlink.LinkSetUp(loopback); err != nil {
		return fmt.Errorf("cannot enable the loopback device: %w", err)
	}
	addresses := []string{layout.PlaneIP, layout.DNSIP}
	for i := range nodes {
		addresses = append(addresses, layout.NodeIP(i))
	}
	for _, text := range addresses {
		address, err := netlink.ParseAddr(text + "/32")
		if err != nil {
			return err
		}
		address.Scope = syscall.RT_SCOPE_UNIVERSE
		if err := netlink.AddrAdd(loopback, address); err != nil {
			return fmt.Errorf("cannot add the address %s: %w", text, err)
		}
	}
	_, services, err := net.ParseCIDR(layout.ServiceCIDR)
	if err != nil {
		return err
	}
	// Without a route a local connection to a Service fails before kube-proxy's
	// rules can translate its address.
	route := &netlink.Route{LinkIndex: loopback.Attrs().Index, Dst: services, Src: net.ParseIP(layout.PlaneIP)}
	if err := netlink.RouteAdd(route); err != nil {
		return fmt.Errorf("cannot route %s: %w", services, err)
	}
	return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644)
}

// Runner runs a program to its end with input on its standard input.
type Runner func(path string, args []string, input string) (output string, err error)

// SetupHairpin installs the rules for pods that reach themselves through a Service.
func SetupHairpin(nft string, run Runner) error {
	if output, err := run(nft, []string{"-f", "-"}, hairpinRules); err != nil {
		return fmt.Errorf("nft refused the cluster's rules (%w): %s", err, strings.TrimSpace(output))
	}
	return nil
}
