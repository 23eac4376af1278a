/// Bounds of the calls that filters make.
enum CallLimits {
    /// What an answer's body may have; beyond it the call fails.
    static let answerBytes = 1_048_576

    /// One gRPC message of an answer, unless the service's `max_receive_message_length` says otherwise.
    static let messageBytes = 4_194_304

    /// Bytes of a request that wait for a connection; beyond it the call fails.
    static let waitingBytes = 4_194_304

    /// How long a call may take where neither its configuration nor its filter says it.
    static let timeout: Duration = .seconds(5)
}
