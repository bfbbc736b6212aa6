"""Pictures of what the views compute: panels for files and pages."""
