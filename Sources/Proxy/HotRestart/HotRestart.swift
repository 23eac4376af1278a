/// Taking over from a running process.
enum HotRestart {
    /// What two processes must agree on.
    static let version = "skein.1"
}
