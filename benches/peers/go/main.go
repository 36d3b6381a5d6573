// A relay from a Spanner change stream to a ZeroMQ PUB socket: what spanwire is measured against. See README.md.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"cloud.google.com/go/spanner"
	"google.golang.org/api/option"
	"google.golang.org/grpc"

	"relay/envelope"
)

const (
	windowBytes = 16 << 20 // of HTTP/2, a stream's and a connection's: no waiting for the window
	bufferBytes = 256 << 10
	garbage     = 400 // GOGC: percent; a heap of some ten MiB may well grow to a few times that
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("relay: ")
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	options, address, err := parse()
	if err != nil {
		return err
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbage)
	}
	stop, err := profile(options.profile)
	if err != nil {
		return err
	}
	defer stop()
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer cancel()
	start := time.Now()
	client, err := connect(ctx, options.database, address)
	if err != nil {
		return fmt.Errorf("no client for %s: %w", options.database, err)
	}
	defer client.Close()
	out, err := newSender(options.topics + "_tick/")
	if err != nil {
		return fmt.Errorf("no PUB socket: %w", err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(map[string][]string{"endpoints": {out.endpoint}}); err != nil {
		return err
	}
	go out.run()
	err = newStream(client, out, options).follow(ctx, start)
	if ctx.Err() != nil {
		return nil // asked to stop
	}
	return err
}

type options struct {
	database, stream, topics string
	values                   envelope.Header_Values
	batchBytes               int
	profile                  string
}

func parse() (options, string, error) {
	var o options
	address := flag.String("address", "", "`host:port` of a simulator or emulator, without TLS; default: Cloud Spanner")
	flag.StringVar(&o.database, "database", "", "projects/…/instances/…/databases/…")
	flag.StringVar(&o.stream, "stream", "", "the change stream's name")
	values := flag.String("values", "json", "json or typed")
	flag.IntVar(&o.batchBytes, "batch-bytes", 64<<10, "a message closes at this size")
	flag.StringVar(&o.profile, "profile", "", "write a CPU profile there")
	flag.Parse()
	switch *values {
	case "json":
		o.values = envelope.Header_Values_json
	case "typed":
		o.values = envelope.Header_Values_typed
	default:
		return o, "", fmt.Errorf("--values is %q: json or typed", *values)
	}
	if o.database == "" || o.stream == "" {
		return o, "", errors.New("--database and --stream are needed")
	}
	if strings.ContainsAny(o.stream, "`\\") {
		return o, "", fmt.Errorf("--stream is %q: not the name of a change stream", o.stream)
	}
	o.topics = o.database[strings.LastIndexByte(o.database, '/')+1:] + "/" + o.stream + "/"
	return o, *address, nil
}

func connect(ctx context.Context, database, address string) (*spanner.Client, error) {
	if address != "" {
		// The client's own way to a server without TLS.
		if err := os.Setenv("SPANNER_EMULATOR_HOST", address); err != nil {
			return nil, err
		}
	}
	return spanner.NewClientWithConfig(ctx, database, spanner.ClientConfig{DisableNativeMetrics: true},
		option.WithGRPCDialOption(grpc.WithInitialWindowSize(windowBytes)),
		option.WithGRPCDialOption(grpc.WithInitialConnWindowSize(windowBytes)),
		option.WithGRPCDialOption(grpc.WithReadBufferSize(bufferBytes)),
	)
}
