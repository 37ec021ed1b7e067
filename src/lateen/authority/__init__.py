"""Who gets a certificate, signed by what? The CA as a service, its key's keeping, and the server's own certificate."""
