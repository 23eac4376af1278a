// The landing file of this target; it declares nothing.
//
// Registry: services, keys and sessions of programs that are no pods, over HTTP as Consul's clients speak it (docs/registry.md).
//
// State/      RegistryState: nodes, services, checks, keys, sessions and intentions as objects of the store. Time and randomness come
//             as a RegistryMoment; what a change touches is a Topic, for those who wait (RegistryIndex).
// Requests/   RegistryRouter: requests in, answers out, without a transport; it waits for nothing.
// Checks/     CheckPlan says what is due and what an outcome means (pure); CheckRunner asks programs, TTLs need nobody.
// Mesh/       what follows for the mesh, DNS and access: ServiceEntries, names, AuthorizationPolicies. Pure.
// Serving/    RegistryServer: the HTTP server, blocking queries, check and session clocks. The thin shell.
