internal import HTTP
internal import IO
internal import Upstream

// The descriptors of a request, from the rules of its route or of a filter.
extension HTTPStream {
    /// The rules of the request's route.
    func rateLimitRules(_ option: RateLimitLevel.VirtualHostOption) -> [RateLimitRule] {
        RateLimitLevel.rules(routeConfigs(for: RateLimitLevel.name), option: option)
    }

    /// What rules of a stage make of the request.
    ///
    /// - Parameter atEnd: those that count when the stream ends, and not the others.
    func rateLimitDescriptors(
        _ rules: [RateLimitRule], stage: UInt32, serviceCluster: String, atEnd: Bool
    ) -> [Upstream.RateLimitDescriptor] {
        var descriptors: [Upstream.RateLimitDescriptor] = []
        var context: RateLimitRule.Context?
        for rule in rules where rule.stage == stage && rule.appliesOnStreamDone == atEnd {
            guard rule.isEnabled(random: worker.random.next()) else { continue }
            let known = context ?? rateLimitContext(serviceCluster)
            context = known
            if let descriptor = readRequest({ rule.descriptor(for: $0, facts: self, context: known) }) {
                descriptors.append(descriptor)
            }
        }
        return descriptors
    }

    private func rateLimitContext(_ serviceCluster: String) -> RateLimitRule.Context {
        var context = RateLimitRule.Context()
        context.sourceCluster = serviceCluster
        context.destinationCluster = target?.cluster ?? ""
        if let address = connectionInfo.remoteAddress.address {
            context.remoteAddress = address.bytes
            context.remoteAddressText = "\(address)"
        }
        context.routeMetadata = currentRoute?.metadata
        let rewriter = HeaderRewriter(stream: self)
        context.render = { rewriter.render($0) }
        return context
    }
}
