"""The page one can click through: HTML made on the server, which works without JavaScript."""
