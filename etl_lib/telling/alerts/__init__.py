"""Who is alerted to what: the kinds of alerts, how often each is sent, and the channels to people."""
