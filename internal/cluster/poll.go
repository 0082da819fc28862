package cluster

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"
)

// Eventually polls until f succeeds. After the patience, it fails the test with the
// last error of f.
func Eventually(t testing.TB, patience time.Duration, f func() error) {
	t.Helper()
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(patience)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		<-tick.C
	}
}

// Fetch gets a URL and returns the body. A status other than 200 is an error.
func Fetch(url string) (string, error) {
	client := http.Client{Timeout: 10 * time.Second}
	resp, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK {
		err = errors.Join(err, fmt.Errorf("get %s: %s: %s", url, resp.Status, body))
	}
	return string(body), err
}
