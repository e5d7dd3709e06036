"""An API as a source: requests, pages, answers, and what they land. Stands on `settings` and the folders of pulls."""
