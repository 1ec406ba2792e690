# Three parts of the system fail at once: that looks like a shared cause, and nothing is restarted. When two of them
# recover by themselves, the third may be cured.
tree
  site
    shop  4s  30/s
    bank  5s  10/s
    mail  3s   5/s
    web   3s  20/s
at 10s shop fails 60% for 90s
at 10s bank fails 60% for 60s
at 10s mail fails 60% until mail is restarted
