"""Looking at records: a table of them, their statistics, plots, a page to listen and flag, a report for documents."""
