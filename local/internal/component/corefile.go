package component

import (
	"fmt"

	"modelservice.dev/local/internal/layout"
)

// DNSReadyURL answers 200 once CoreDNS has read the cluster's Services.
const DNSReadyURL = "http://127.0.0.1:8181/ready"

// Corefile is the configuration of CoreDNS. Names outside the cluster are
// refused, since pods cannot reach them.
func Corefile(dir layout.Dir) string {
	return fmt.Sprintf(`. {
	bind %s
	errors
	ready 127.0.0.1:8181
	kubernetes %s in-addr.arpa ip6.arpa {
		kubeconfig %q
		pods insecure
		ttl 5
	}
}
`, layout.DNSIP, layout.ClusterDomain, Kubeconfig(dir, "coredns"))
}
