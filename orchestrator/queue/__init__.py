"""Policy over the store's jobs: leasing, announcing, sweeping."""
