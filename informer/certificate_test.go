package informer

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/miekg/dns"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/transport"
	"k8s.io/klog/v2"

	"github.com/headless-dns/headless/informer/internal/fixture"
	"github.com/headless-dns/headless/informer/internal/object"
	"github.com/headless-dns/headless/internal/apiserver"
)

// newCertificate returns a self-signed certificate, and a PEM file of it.
func newCertificate(t *testing.T, key *ecdsa.PrivateKey, use x509.ExtKeyUsage, name string) (der []byte, file string) {
	t.Helper()
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{use},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return der, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// pipes is a listener with connections in memory, whose waits do not block a synctest
// bubble.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	if c, ok := <-p; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (p pipes) Close() error {
	close(p)
	return nil
}

func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p pipes) dial(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	p <- server
	return client, nil
}

// TestCA replaces the CA of an API server on disk, and the server's certificate with it.
// The client trusts the new one within five minutes, without a new source.
func TestCA(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := t.TempDir() + "/ca"
	synctest.Test(t, func(t *testing.T) {
		var serves atomic.Pointer[tls.Certificate]
		rotate := func() {
			der, file := newCertificate(t, key, x509.ExtKeyUsageServerAuth, "api")
			serves.Store(&tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key})
			fixture.WriteFile(t, ca, file)
		}
		rotate()
		network := make(pipes)
		server := &http.Server{
			Handler:  http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}),
			ErrorLog: log.New(io.Discard, "", 0), // of clients that do not trust it
			TLSConfig: &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
				return serves.Load(), nil
			}},
		}
		server.SetKeepAlivesEnabled(false)
		ended := make(chan error)
		go func() { ended <- server.ServeTLS(network, "", "") }()
		config, err := (&Cluster{Endpoint: "https://api", CA: ca}).config()
		if err != nil {
			t.Fatal(err)
		}
		config.Dial = network.dial
		client, err := rest.HTTPClientFor(config)
		if err != nil {
			t.Fatal(err)
		}
		ask := func() error {
			resp, err := client.Get("https://api/")
			if err != nil {
				return err
			}
			return resp.Body.Close()
		}
		if err := ask(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		rotate()
		if err, unknown := ask(), (x509.UnknownAuthorityError{}); !errors.As(err, &unknown) {
			t.Errorf("at once, the error is %v", err)
		}
		time.Sleep(4 * time.Minute)
		if err := ask(); err != nil {
			t.Errorf("five minutes after the start, the error is %v", err)
		}
		client.CloseIdleConnections()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
}

// TestCertificate replaces a client's certificate on disk. The server refuses the old one
// from then on.
func TestCertificate(t *testing.T) {
	// Client-go checks the files every five minutes. No other test has a client
	// certificate.
	transport.CertCallbackRefreshDuration = 10 * time.Millisecond
	// It never stops, and would log that the files are gone.
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
	fixture.WriteFile(t, folder+"/key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	var right atomic.Pointer[string]
	rotate := func(name string) {
		_, file := newCertificate(t, key, x509.ExtKeyUsageClientAuth, name)
		right.Store(&name)
		fixture.WriteFile(t, folder+"/cert", file)
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
		s.Config.ErrorLog = log.New(io.Discard, "", 0) // of connections that end early
		s.StartTLS()
		t.Cleanup(s.Close)
		fixture.WriteFile(t, folder+"/ca", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})))
		return Cluster{Endpoint: s.URL, Cert: folder + "/cert", Key: folder + "/key", CA: folder + "/ca"}
	}, "10.244.0.1", "10.244.0.2")
	f.start(t)
	f.tries(t, 2, func() { rotate("second") }) // the client closes the connection and resumes the watch on another
	f.api.Put(fixture.Web(2))
	f.await(t, nginxName, dns.TypeA, threePods)
	f.awaitThat(t, "no watch fails", func() bool { return f.failing[object.Pods] == 0 })
	f.locked(func() {
		if n := f.api.Listed("pods"); n != 1 {
			t.Errorf("%d lists; the log has %q", n, f.logged)
		}
	})
}
