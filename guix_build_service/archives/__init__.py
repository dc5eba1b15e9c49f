"""What archives keep, turned into commits: nothing of an archive is a Git repository that could be fetched."""
