package gcp

import (
	"fmt"
	"net"
	"strconv"

	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// checkEndpoint refuses addresses to which keys would go in the clear: another
// than Google's is on this machine, or it is none.
func checkEndpoint(endpoint string) error {
	if endpoint == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(endpoint)
	if err != nil {
		return fmt.Errorf("%w: endpoint %.300q is not host:port", ErrOptions, endpoint)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("%w: endpoint %.300q has no port", ErrOptions, endpoint)
	}
	if !isLoopback(host) {
		return fmt.Errorf("%w: endpoint %.300q is not at a loopback address, such as 127.0.0.1", ErrOptions, endpoint)
	}
	return nil
}

// isLoopback knows addresses alone, and "localhost", which RFC 6761 §6.3 keeps
// for them.
func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// unsecured reaches Endpoint, where one is given.
func (o Options) unsecured() []option.ClientOption {
	if o.Endpoint == "" {
		return nil
	}
	return []option.ClientOption{
		option.WithEndpoint(o.Endpoint),
		option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
	}
}
