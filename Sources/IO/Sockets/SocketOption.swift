/// An option that a configuration sets by number (setsockopt(2)).
public struct SocketOption: Sendable, Hashable {
    /// When in a listening socket's life it is set.
    public enum Moment: Sendable, Hashable {
        /// Before it has an address.
        case beforeBind
        /// When it has one.
        case bound
        /// When it listens.
        case listening
    }

    /// The protocol that it belongs to, `SOL_SOCKET` or `IPPROTO_TCP` for example.
    public var level: Int32
    /// Which of that protocol's options, `SO_KEEPALIVE` for example.
    public var name: Int32
    /// Its value as the kernel reads it; an integer is four bytes in the machine's order.
    public var value: [UInt8]
    /// When it is set.
    public var moment: Moment
    /// What tells it in errors: where it is written.
    public var place: String

    /// Names an option and its value.
    public init(level: Int32, name: Int32, value: [UInt8], moment: Moment, place: String) {
        self.level = level
        self.name = name
        self.value = value
        self.moment = moment
        self.place = place
    }
}
