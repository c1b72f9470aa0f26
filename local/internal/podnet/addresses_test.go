package podnet

import (
	"testing"
)

func TestAddressesAreGivenInOrderAndRestAfterUse(t *testing.T) {
	addresses, err := NewAddresses("10.244.3.0/29")
	if err != nil {
		t.Fatal(err)
	}
	first, second := take(t, addresses), take(t, addresses)
	if first != "10.244.3.1" || second != "10.244.3.2" {
		t.Fatalf("got %s and %s, want 10.244.3.1 and 10.244.3.2", first, second)
	}
	addresses.Free(addresses.Prefix().Addr().Next())
	for _, want := range []string{"10.244.3.3", "10.244.3.4", "10.244.3.5", "10.244.3.6", "10.244.3.1"} {
		if got := take(t, addresses); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	}
}

func TestAFullPrefixIsRefused(t *testing.T) {
	addresses, err := NewAddresses("10.244.3.0/30")
	if err != nil {
		t.Fatal(err)
	}
	take(t, addresses)
	take(t, addresses)
	_, err = addresses.Take()
	if err == nil || err.Error() != "all 2 pod addresses of 10.244.3.0/30 are in use" {
		t.Fatalf("got the error %v", err)
	}
}

func TestUnusablePrefixesAreRefused(t *testing.T) {
	for _, cidr := range []string{"", "10.244.0.0", "10.244.0.0/31", "fd00::/64"} {
		if _, err := NewAddresses(cidr); err == nil {
			t.Errorf("%q was accepted", cidr)
		}
	}
}

func TestDeviceNamesFitTheKernel(t *testing.T) {
	addresses, err := NewAddresses("255.255.255.248/29")
	if err != nil {
		t.Fatal(err)
	}
	address, err := addresses.Take()
	if err != nil {
		t.Fatal(err)
	}
	if name := deviceName(address); name != "podfffffff9" {
		t.Fatalf("got %s", name)
	}
}

func take(t *testing.T, addresses *Addresses) string {
	t.Helper()
	address, err := addresses.Take()
	if err != nil {
		t.Fatal(err)
	}
	return address.String()
}
