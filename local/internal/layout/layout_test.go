package layout

import (
	"net/netip"
	"testing"

	"modelservice.dev/local/internal/spec"
)

func TestEveryNodeHasItsOwnAddressAndNetwork(t *testing.T) {
	pods := netip.MustParsePrefix(PodNetwork)
	taken := map[string]bool{PlaneIP: true, DNSIP: true}
	for i := range spec.MaxNodes {
		address, err := netip.ParseAddr(NodeIP(i))
		if err != nil {
			t.Fatal(err)
		}
		network, err := netip.ParsePrefix(PodCIDR(i))
		if err != nil {
			t.Fatal(err)
		}
		if !pods.Contains(network.Addr()) {
			t.Errorf("%s is outside of %s", network, pods)
		}
		for _, text := range []string{address.String(), network.String()} {
			if taken[text] {
				t.Errorf("%s is given twice", text)
			}
			taken[text] = true
		}
	}
}
