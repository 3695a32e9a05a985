"""The page *Live*: what is published, for whoever reads it. Nothing else of the service is shown here."""
