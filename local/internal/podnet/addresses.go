// Package podnet connects pods to the cluster's network namespace: one
// point-to-point veth and one /32 route a pod, no bridge. Every packet between
// pods is routed, so the address translation of Services sees both directions.
package podnet

import (
	"fmt"
	"net/netip"
	"sync"
)

// Gateway is the next hop of every pod. No device carries it: pods find it
// through a permanent neighbour entry.
var Gateway = netip.AddrFrom4([4]byte{169, 254, 1, 1})

// Addresses hands out the pod addresses of one node. It starts behind the last
// one it gave, so that a freed address rests as long as possible.
type Addresses struct {
	mutex  sync.Mutex
	prefix netip.Prefix
	used   map[netip.Addr]bool
	last   netip.Addr
}

// NewAddresses returns the allocator of an IPv4 prefix such as 10.244.3.0/24.
func NewAddresses(cidr string) (*Addresses, error) {
	prefix, err := netip.ParsePrefix(cidr)
	if err != nil {
		return nil, fmt.Errorf("the pod network %q is not a prefix such as 10.244.1.0/24: %w", cidr, err)
	}
	if !prefix.Addr().Is4() || prefix.Bits() > 30 {
		return nil, fmt.Errorf("the pod network %s must be IPv4 and hold at least two pods, that is /30 or larger", cidr)
	}
	prefix = prefix.Masked()
	return &Addresses{prefix: prefix, used: map[netip.Addr]bool{}, last: prefix.Addr()}, nil
}

// Prefix is the network that the addresses are from.
func (a *Addresses) Prefix() netip.Prefix {
	return a.prefix
}

// Take returns a free address. The first and the last of the prefix are never given.
func (a *Addresses) Take() (netip.Addr, error) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	if len(a.used) == 1<<(32-a.prefix.Bits())-2 {
		return netip.Addr{}, fmt.Errorf("all %d pod addresses of %s are in use", len(a.used), a.prefix)
	}
	a.last = a.after(a.last)
	for a.used[a.last] {
		a.last = a.after(a.last)
	}
	a.used[a.last] = true
	return a.last, nil
}

// Free returns an address. Freeing one that is not in use does nothing.
func (a *Addresses) Free(address netip.Addr) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	delete(a.used, address)
}

func (a *Addresses) after(address netip.Addr) netip.Addr {
	next := address.Next()
	if !a.prefix.Contains(next) || !a.prefix.Contains(next.Next()) {
		return a.prefix.Addr().Next()
	}
	return next
}
