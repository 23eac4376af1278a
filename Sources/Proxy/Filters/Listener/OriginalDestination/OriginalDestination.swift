internal import IO

/// The listener filter original_dst: the address the client meant, before a redirect.
struct OriginalDestination: ListenerFilterConfig {
    func accepted(_ socket: Socket, _ info: inout ConnectionInfo) -> ListenerFilterStep {
        if let original = socket.originalDestination() {
            info.isRedirected = original != info.localAddress
            info.localAddress = original
        }
        return .next
    }
}
