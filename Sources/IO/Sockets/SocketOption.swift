/// An option that a configuration sets by number (setsockopt(2)).
public struct SocketOption: Sendable, Hashable {
    /// When in a listening socket's life it is set.
    public enum Moment: Sendable, Hashable { case beforeBind, bound, listening }

    /// `SOL_SOCKET`, `IPPROTO_TCP` …
    public var level: Int32
    /// `SO_KEEPALIVE` …
    public var name: Int32
    /// Its value as the kernel reads it; an integer is four bytes in the machine's order.
    public var value: [UInt8]
    public var moment: Moment
    /// What tells it in errors: where it is written.
    public var place: String

    public init(level: Int32, name: Int32, value: [UInt8], moment: Moment, place: String) {
        self.level = level
        self.name = name
        self.value = value
        self.moment = moment
        self.place = place
    }
}
