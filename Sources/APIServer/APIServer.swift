// The landing file of this target; it declares nothing.
//
// APIServer: the Kubernetes-compatible API. A request walks: Serving (HTTP, TLS, who calls) → Requests (what is wanted) →
// Objects (the rules) → Store.
//
// Requests/   APIRouter: APIRequest in, APIResponse out, no transport; bodies (JSON, YAML, protobuf, patches), StatusError.
// Objects/    ObjectRegistry: create, modify, delete, list, watch with admission, defaults, validation, service addresses,
//             owners and finalizers. Controllers of this process use it directly. WatchStream: one client's watch.
// Tables/     the columns that kubectl prints, content negotiation (ObjectForm).
// Discovery/  /api, /apis, /openapi.
// Access/     Kubeconfig.
// Serving/    APIListeners: unix socket (root), TLS (client certificates); NodeLogs: logs from the node agent.
//
//     let registry = ObjectRegistry(store: try SQLiteStore(path: path), now: clock)
//     try registry.bootstrap()
//     let listeners = APIListeners(APIRouter(registry), on: loop)
//     Task(executorPreference: loop) { await listeners.serve(tls: listener) { context } }
//
// Everything belongs to one event loop; only APIListeners waits.
