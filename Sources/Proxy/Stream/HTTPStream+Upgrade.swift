extension HTTPStream {
    /// The request may open a tunnel, and counts as one until it ends.
    func countUpgrade() {
        guard !countsUpgrade else { return }
        countsUpgrade = true
        manager.count(.downstream_cx_upgrades_total, worker)
        manager.count(.downstream_cx_upgrades_active, worker)
    }
}
