"""Programs that a person launches; each is one verb of launch.sh."""
