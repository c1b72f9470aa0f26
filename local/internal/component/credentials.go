package component

import (
	"fmt"
	"os"

	"k8s.io/client-go/tools/clientcmd"
	clientapi "k8s.io/client-go/tools/clientcmd/api"

	"modelservice.dev/local/internal/layout"
	"modelservice.dev/local/internal/pki"
)

const administrators = "system:masters"

// WriteCredentials creates the authorities and the service account key unless
// they exist, and renews every certificate and kubeconfig of the control plane.
// The administrator's kubeconfig points at port on this machine.
func WriteCredentials(dir layout.Dir, port int) (*pki.Authority, error) {
	authority, err := pki.OpenAuthority(dir.PKI(""), "ca")
	if err != nil {
		return nil, err
	}
	frontProxy, err := pki.OpenAuthority(dir.PKI(""), "front-proxy-ca")
	if err != nil {
		return nil, err
	}
	if err := pki.EnsureKey(dir.PKI("serviceaccount.key")); err != nil {
		return nil, err
	}
	if err := authority.IssueFiles(dir.PKI("apiserver"), pki.Request{
		CommonName: APIServer,
		Addresses:  []string{"127.0.0.1", layout.PlaneIP, layout.APIServiceIP},
		Names: []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
			"kubernetes.default.svc." + layout.ClusterDomain},
	}); err != nil {
		return nil, err
	}
	if err := authority.IssueFiles(dir.PKI("kubelet-client"),
		pki.Request{CommonName: KubeletClientUser, Organizations: []string{administrators}}); err != nil {
		return nil, err
	}
	if err := frontProxy.IssueFiles(dir.PKI("front-proxy-client"), pki.Request{CommonName: AggregatorUser}); err != nil {
		return nil, err
	}
	clients := []struct {
		path, server string
		request      pki.Request
	}{
		{dir.Kubeconfig(), fmt.Sprintf("https://127.0.0.1:%d", port),
			pki.Request{CommonName: AdminUser, Organizations: []string{administrators}}},
		{Kubeconfig(dir, "supervisor"), layout.APIURL(),
			pki.Request{CommonName: SupervisorUser, Organizations: []string{administrators}}},
		{Kubeconfig(dir, ControllerManager), layout.APIURL(), pki.Request{CommonName: ControllerManagerUser}},
		{Kubeconfig(dir, Scheduler), layout.APIURL(), pki.Request{CommonName: SchedulerUser}},
		{Kubeconfig(dir, Proxy), layout.APIURL(), pki.Request{CommonName: ProxyUser}},
		{Kubeconfig(dir, "coredns"), layout.APIURL(), pki.Request{CommonName: DNSUser}},
	}
	for _, client := range clients {
		if err := WriteKubeconfig(client.path, client.server, authority, client.request); err != nil {
			return nil, err
		}
	}
	return authority, nil
}

// WriteKubeconfig writes a kubeconfig whose user presents a new certificate.
func WriteKubeconfig(path, server string, authority *pki.Authority, request pki.Request) error {
	certPEM, keyPEM, err := authority.Issue(request)
	if err != nil {
		return fmt.Errorf("certificate %s: %w", request.CommonName, err)
	}
	const name = "localcluster"
	config := clientapi.NewConfig()
	config.Clusters[name] = &clientapi.Cluster{Server: server, CertificateAuthorityData: authority.CertPEM()}
	config.AuthInfos[request.CommonName] = &clientapi.AuthInfo{ClientCertificateData: certPEM, ClientKeyData: keyPEM}
	config.Contexts[name] = &clientapi.Context{Cluster: name, AuthInfo: request.CommonName}
	config.CurrentContext = name
	data, err := clientcmd.Write(*config)
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o600)
}
