package podnet

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const podDevice = "eth0"

// Node makes and removes the links of one node's pods. It must be used from the
// cluster's network namespace.
type Node struct {
	ip     net.IP
	prefix netip.Prefix
}

// NewNode returns the links of the node with this address and pod network.
func NewNode(ip string, prefix netip.Prefix) (*Node, error) {
	address := net.ParseIP(ip).To4()
	if address == nil {
		return nil, fmt.Errorf("the node address %q is not an IPv4 address", ip)
	}
	return &Node{ip: address, prefix: prefix}, nil
}

// Prepare turns forwarding on and removes links that an earlier process of the
// same node left behind.
func (n *Node) Prepare() error {
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644); err != nil {
		return fmt.Errorf("cannot turn on forwarding between pods: %w", err)
	}
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return fmt.Errorf("cannot list the routes of the node: %w", err)
	}
	for _, route := range routes {
		if route.Dst == nil {
			continue
		}
		address, ok := netip.AddrFromSlice(route.Dst.IP.To4())
		if !ok || !n.prefix.Contains(address) {
			continue
		}
		link, err := netlink.LinkByIndex(route.LinkIndex)
		if err != nil || link.Type() != "veth" {
			continue
		}
		if err := netlink.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) {
			return fmt.Errorf("cannot remove the left-over device %s: %w", link.Attrs().Name, err)
		}
	}
	return nil
}

// Attach links the network namespace of the calling thread, which must be
// locked and fresh, to the one behind outside. The pod gets address, and its
// default route leads through the link.
func (n *Node) Attach(outside *netlink.Handle, outsideNS int, address netip.Addr) error {
	inside, err := netlink.NewHandle()
	if err != nil {
		return fmt.Errorf("cannot talk to the pod's network: %w", err)
	}
	defer inside.Close()
	loopback, err := inside.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("the pod has no loopback device: %w", err)
	}
	if err := inside.LinkSetUp(loopback); err != nil {
		return fmt.Errorf("cannot enable the pod's loopback device: %w", err)
	}
	name := deviceName(address)
	veth := &netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: podDevice},
		PeerName:      name,
		PeerNamespace: netlink.NsFd(outsideNS),
	}
	if err := inside.LinkAdd(veth); err != nil {
		return fmt.Errorf("cannot make the pod's network device: %w", err)
	}
	pod, err := inside.LinkByName(podDevice)
	if err != nil {
		return fmt.Errorf("cannot find the pod's network device: %w", err)
	}
	node, err := outside.LinkByName(name)
	if err != nil {
		return fmt.Errorf("cannot find the node's end of the pod's network device: %w", err)
	}
	if err := configurePod(inside, pod, node.Attrs().HardwareAddr, address); err != nil {
		return err
	}
	return n.configureNode(outside, node, pod.Attrs().HardwareAddr, address)
}

// Detach removes the link of a pod. A link that is gone is no error.
func (n *Node) Detach(address netip.Addr) error {
	link, err := netlink.LinkByName(deviceName(address))
	if _, missing := errors.AsType[netlink.LinkNotFoundError](err); missing {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot look for the device of pod %s: %w", address, err)
	}
	if err := netlink.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("cannot remove the device of pod %s: %w", address, err)
	}
	return nil
}

func configurePod(handle *netlink.Handle, link netlink.Link, gateway net.HardwareAddr, address netip.Addr) error {
	if err := handle.AddrAdd(link, &netlink.Addr{IPNet: host(address)}); err != nil {
		return fmt.Errorf("cannot give the pod the address %s: %w", address, err)
	}
	if err := handle.LinkSetUp(link); err != nil {
		return fmt.Errorf("cannot enable the pod's network device: %w", err)
	}
	if err := addNeighbour(handle, link, Gateway, gateway); err != nil {
		return err
	}
	next := net.IP(Gateway.AsSlice())
	index := link.Attrs().Index
	for _, route := range []*netlink.Route{
		{LinkIndex: index, Scope: netlink.SCOPE_LINK, Dst: host(Gateway)},
		{LinkIndex: index, Gw: next},
	} {
		if err := handle.RouteAdd(route); err != nil {
			return fmt.Errorf("cannot route the pod %s to the cluster: %w", address, err)
		}
	}
	return nil
}

func (n *Node) configureNode(handle *netlink.Handle, link netlink.Link, pod net.HardwareAddr, address netip.Addr) error {
	if err := handle.LinkSetUp(link); err != nil {
		return fmt.Errorf("cannot enable the node's end of pod %s: %w", address, err)
	}
	if err := addNeighbour(handle, link, address, pod); err != nil {
		return err
	}
	route := &netlink.Route{LinkIndex: link.Attrs().Index, Scope: netlink.SCOPE_LINK, Dst: host(address), Src: n.ip}
	if err := handle.RouteReplace(route); err != nil {
		return fmt.Errorf("cannot route the cluster to pod %s: %w", address, err)
	}
	return nil
}

func addNeighbour(handle *netlink.Handle, link netlink.Link, address netip.Addr, hardware net.HardwareAddr) error {
	neighbour := &netlink.Neigh{
		LinkIndex:    link.Attrs().Index,
		Family:       netlink.FAMILY_V4,
		State:        netlink.NUD_PERMANENT,
		IP:           address.AsSlice(),
		HardwareAddr: hardware,
	}
	if err := handle.NeighSet(neighbour); err != nil {
		return fmt.Errorf("cannot make %s a neighbour on %s: %w", address, link.Attrs().Name, err)
	}
	return nil
}

func host(address netip.Addr) *net.IPNet {
	return &net.IPNet{IP: address.AsSlice(), Mask: net.CIDRMask(32, 32)}
}

// deviceName is the name of the node's end of a pod's link. Pod addresses are
// unique in the cluster, so their names are.
func deviceName(address netip.Addr) string {
	bytes := address.As4()
	return fmt.Sprintf("pod%02x%02x%02x%02x", bytes[0], bytes[1], bytes[2], bytes[3])
}
