"""Who is connected, what is new, and who must hear of it? The loop, the ADS server, its TLS front and its pages."""
