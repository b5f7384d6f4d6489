//! `curl`: the everyday options, with curl's output, exit codes and error texts.

mod connect;
mod failure;
mod help;
mod options;
mod output;
mod request;
mod tls;
mod transfer;
mod url;
mod write_out;

use std::{process::ExitCode, time::Duration};

use failure::Failure;
use options::{Options, Parsed};

pub(crate) async fn run(args: &[String]) -> ExitCode {
    let options = match options::parse(args) {
        Ok(Parsed::Transfer(options)) => options,
        Ok(Parsed::Show(text)) => {
            output::print(text);
            return ExitCode::SUCCESS;
        }
        Err(failure) => {
            eprintln!("curl: {}", failure.text());
            eprintln!("curl: try 'curl --help' for more information");
            return ExitCode::from(failure.code());
        }
    };
    let mut last = 0;
    for (index, url) in options.urls.iter().enumerate() {
        last = one(&options, url, index).await;
        if last != 0 && options.fail_early {
            break;
        }
    }
    ExitCode::from(last)
}

/// One URL, with the retries that the options ask for; the exit code.
async fn one(options: &Options, url: &str, index: usize) -> u8 {
    let mut pause = Duration::from_secs(1);
    let mut left = options.retries;
    loop {
        let mut result = transfer::transfer(options, url, index).await;
        let again = left > 0 && retryable(options, &result);
        if let Some(failure) = &result.failure
            && (!options.silent || options.show_error)
        {
            eprintln!("curl: ({}) {}", failure.code(), failure.text());
        }
        if !again {
            result.report.exit_code = result.failure.as_ref().map_or(0, Failure::code);
            result.report.error = result.failure.as_ref().map(Failure::text).unwrap_or_default();
            if let Some(template) = &options.write_out {
                write_out::write(template, &result.report);
            }
            return result.report.exit_code;
        }
        left -= 1;
        tokio::time::sleep(options.retry_delay.unwrap_or(pause)).await;
        pause = (pause * 2).min(Duration::from_secs(600));
    }
}

/// Time-outs and the statuses that mean "later" are tried again; refused connections where asked for.
fn retryable(options: &Options, result: &transfer::Outcome) -> bool {
    let status = matches!(result.report.status, 408 | 429 | 500 | 502 | 503 | 504);
    match &result.failure {
        None => status,
        Some(Failure::Http(_)) => status || options.retry_all,
        Some(Failure::Timeout(_) | Failure::Resolve(_)) => true,
        Some(Failure::Connect(..)) => options.retry_refused || options.retry_all,
        Some(_) => options.retry_all,
    }
}

#[cfg(test)]
mod tests;
