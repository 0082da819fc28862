package informer

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/miekg/dns"
	"k8s.io/client-go/transport"
	"k8s.io/klog/v2"

	"github.com/headless-dns/headless/plugin/apiserver"
)

// TestCertificate has a client's certificate be replaced on disk, and the old one be
// refused from then on.
func TestCertificate(t *testing.T) {
	// Client-go looks every five minutes. Nothing else here has a certificate.
	transport.CertCallbackRefreshDuration = 10 * time.Millisecond
	// It looks for ever, and would tell that the files are gone.
	klog.SetLoggerWithOptions(logr.Discard(), klog.ContextualLogger(true))
	t.Cleanup(klog.ClearLogger)
	folder := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, folder+"/key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	var right atomic.Pointer[string]
	rotate := func(name string) {
		now := time.Now()
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
			NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		right.Store(&name)
		writeFile(t, folder+"/cert", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	}
	rotate("first")
	f := newFaultyBy(t, 100, func(api *apiserver.Server) Cluster {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.TLS.PeerCertificates[0].Subject.CommonName != *right.Load() {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			api.ServeHTTP(w, r)
		}))
		s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
		s.Config.ErrorLog = log.New(io.Discard, "", 0) // of connections that end too soon
		s.StartTLS()
		t.Cleanup(s.Close)
		writeFile(t, folder+"/ca", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})))
		return Cluster{Endpoint: s.URL, Cert: folder + "/cert", Key: folder + "/key", CA: folder + "/ca"}
	}, "10.244.0.1", "10.244.0.2")
	f.start(t)
	f.tries(t, 2, func() { rotate("second") }) // the connection is closed, and the watch resumed by another
	f.api.Put(newWeb(2))
	f.await(t, nginxName, dns.TypeA, threePods)
	f.awaitThat(t, "all is well", func() bool { return f.failing[Pods] == 0 })
	f.locked(func() {
		if n := f.api.Listed("pods"); n != 1 {
			t.Errorf("%d lists; the log has %q", n, f.logged)
		}
	})
}
