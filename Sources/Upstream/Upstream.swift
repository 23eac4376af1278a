// Upstream: where a request goes.
//
// Pure: no socket, clock, lock, random source or `await`. Time comes in as nanoseconds of a monotonic clock, chance as one
// 64-bit draw; the proxy feeds both and does what the answers say.
//
//   Matching/   conditions on headers, query and path, over bytes where they lie
//   Routing/    RouteTable → VirtualHost → Route → Forwarding | Redirect | DirectResponse
//   Retry/      RetryPolicy, RetryState, BackOff, RetryBudget
//   Fault/      FaultPolicy
//   Cluster/    ClusterConfig, EndpointTable, Host, HostSet
//   Balancing/  LoadBalancer
//   Health/     OutlierDetector, HealthCheckState
//   Limits/     ResourceLimits
//
// Two kinds of values live here. Compiled configuration (RouteTable, ClusterConfig, EndpointTable) is immutable and
// Sendable, published whole. Running state (Host, HostSet, LoadBalancer, OutlierDetector, …) belongs to one loop.
